"""Any container and any shape to examples, row by row."""
