"""What is wrong with examples, or too much the same: all found while they pass by."""
