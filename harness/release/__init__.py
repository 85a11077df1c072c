"""Verdicts in, decision out."""
