"""Probes: what is done to the data before the networks see them; one module each."""
