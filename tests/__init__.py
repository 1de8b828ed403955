"""The tests; what they run is prepared as a run of the command is, before anything imports torch."""

from audit import runtime

runtime.prepare()
