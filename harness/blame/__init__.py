"""Which training rows taught an adapter its regressions."""
