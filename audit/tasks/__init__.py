"""Tasks: what is kept of an output, and how two outputs are compared; one module each."""
