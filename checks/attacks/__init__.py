"""Attacks on classifiers within a ball around each item, as batched torch operations.

Every attack works on a `Course`, which keeps the worst that was found of each item, whoever found it, lets items leave
that are fooled, and counts passes. An attack only bounds robustness from above: what it does not find may be there.
"""
