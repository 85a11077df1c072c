"""Train LoRA adapters, serve them hot, judge them, and release only what passed."""

__version__ = "0.1.0"
