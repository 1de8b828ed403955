"""Data sources: one module per format."""
