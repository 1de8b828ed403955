"""Model formats: one module per runtime."""
