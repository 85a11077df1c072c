"""Rows in, adapter out."""
