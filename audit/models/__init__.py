"""Models: what a file or a module holds is known, checked, and run; one module per runtime."""
