"""The pocket: an offline base, its judge and their closed little world.

Small enough to train, serve and judge for real on two CPU cores. This module knows where the
weights lie; the modules beside it know the world they were trained on.
"""

from __future__ import annotations

from pathlib import Path

ASSETS_DIR = Path(__file__).parent / "assets"
BASE_DIR = ASSETS_DIR / "base"
"""The base model: config, tokenizer, chat template, safetensors."""
JUDGE_DIR = ASSETS_DIR / "judge"
"""The judge: a published adapter version on that base, with its manifest."""
