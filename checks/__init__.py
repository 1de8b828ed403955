"""The checks that come with the program, by name; each is imported only when asked for.

A third party adds its own through the entry-point group `prune_audit.checks`.
"""

CHECKS: dict[str, str] = {
    "accuracy": "checks.accuracy:Accuracy",
    "functional": "checks.functional:Functional",
    "noise": "checks.noise:NoiseSimilarity",
    "corruption": "checks.corruption:CorruptionRobustness",
    "shift": "checks.shift:Shift",
    "ood": "checks.ood:OutOfDistribution",
    "adversarial": "checks.adversarial:Adversarial",
    "per_class": "checks.per_class:PerClass",
    "flips": "checks.flips:Flips",
    "slices": "checks.slices:Slices",
    "calibration": "checks.calibration:Calibration",
    "structure": "checks.structure:EffectiveWeights",
    # Last: it counts over all probes, which the others have then read already.
    "integrity": "checks.integrity:Integrity",
}
