"""Peak resident memory of an audit against the number of its items.

    python benchmarks/memory.py [--items 1000 50000]

Generated road signs, the well-pruned network, six levels of noise; each audit is a process of its own, without the
PDF. Exits 1 where the peaks differ by more than the limit. `memory_images.py` is about large images, and counts all
processes of an audit.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from audit import resources
from sample_models.roadsigns import generator

LIMIT = 1.10
POLICY = """
format = "prune-audit/policy/1"
id = "benchmark"
alpha = 0.05
[settings.noise]
uniform = [2, 4, 8]
gaussian = [2, 4, 8]
[[criterion]]
claim = "accuracy.drop"
at_most = 1.0
unit = "points"
"""
AUDIT = """
import resource, sys
from audit import runtime
runtime.prepare()
from pathlib import Path
from audit import api, request
flags = request.Flags(reference=Path(sys.argv[1]), candidate=Path(sys.argv[2]), data=Path("test.npz"),
                      policy="policy.toml", mean=sys.argv[3], std=sys.argv[4])
wanted, base = request.combine(None, flags)
api.run(wanted, base=base, out="out", pdf=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 50_000])
    peaks = {items: _peak(items) for items in parser.parse_args().items}
    for items, peak in peaks.items():
        print(f"{items:>7,} items {peak / 1024:8.1f} MiB")
    growth = max(peaks.values()) / min(peaks.values())
    print(f"largest ÷ smallest {growth:.3f}, limit {LIMIT}")
    return 0 if growth <= LIMIT else 1


def _peak(items: int) -> int:
    """Kibibytes."""
    with tempfile.TemporaryDirectory() as folder:
        x, y = generator.generate(0, items)
        np.savez(Path(folder) / "test.npz", x=x, y=y, classes=np.asarray(generator.CLASSES))
        (Path(folder) / "policy.toml").write_text(POLICY)
        models = [
            str(resources.beside("sample_models", "roadsigns", f"{n}.onnx")) for n in ("reference", "well-pruned")
        ]
        numbers = [",".join(map(str, values)) for values in (generator.MEAN, generator.STD)]
        command = [sys.executable, "-c", AUDIT, *models, *numbers]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return int(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
