"""Items in, verdicts out."""
