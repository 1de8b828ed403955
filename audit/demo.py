"""The demonstration: generated road signs, a network that was pruned well and two that were not."""

import io
from pathlib import Path

import numpy as np
from rich.markup import escape

from audit import api, console, resources
from audit.errors import ExitCode
from audit.storage import require_free, write_atomic

EXPECTED = {"well-pruned": ExitCode.ACCEPTED, "crude": ExitCode.FAILED, "over-pruned": ExitCode.FAILED}
"""The candidates, and what an audit must say of them.

The last one keeps its accuracy on clean items and loses it under noise: the finding of *Lost in Pruning*.
"""
_MARK = "demonstration.txt"


def run(out: Path, items: int, start: int, *, pdf: bool) -> ExitCode:
    """Audit all candidates on the same items; 0 when the good one is accepted and the bad ones refused.

    Writes the models, `test.npz`, an audit file per candidate to try things with, and a folder per certificate.
    Every audit after the first takes over what the reference gave in it.
    """
    if not (out / _MARK).is_file():
        require_free(out)
    _write_inputs(out, items, start)
    codes: dict[str, ExitCode] = {}
    finished: list[Path] = []
    for name in EXPECTED:
        file = out / f"{name}.toml"
        console.SCREEN.print(f"\n[bold]{name}[/]: prune-audit run {escape(str(file))}")
        with console.progress() as progress:
            command = ("prune-audit", "run", str(file))
            outcome = api.run(file, reuse=tuple(finished), pdf=pdf, progress=progress, command=command)
        console.last_screen(outcome.evidence, tuple(map(str, outcome.files)), outcome.notices)
        codes[name] = outcome.exit_code
        finished.append(outcome.folder)
    return ExitCode.ACCEPTED if codes == EXPECTED else ExitCode.FAILED


def _write_inputs(out: Path, items: int, start: int) -> None:
    from sample_models.roadsigns import generator

    write_atomic(out / _MARK, b"Made by `prune-audit demo`; everything here may be overwritten by it.\n")
    x, y = generator.generate(start, items)
    buffer = io.BytesIO()
    np.savez(buffer, x=x, y=y, classes=np.asarray(generator.CLASSES))
    write_atomic(out / "test.npz", buffer.getvalue())
    for name in ("reference", *EXPECTED):
        model = resources.beside("sample_models", "roadsigns", f"{name}.onnx")
        write_atomic(out / model.name, model.read_bytes())
    for name in EXPECTED:
        content = _audit_file(name, generator.MEAN, generator.STD)
        write_atomic(out / f"{name}.toml", content.encode())


def _audit_file(candidate: str, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    return f"""# Run it with: prune-audit run {candidate}.toml
policy = "standard/3"  # `standard` asks for nineteen corruptions as well, which take some minutes
out = "{candidate}"

[reference]
model = "reference.onnx"

[candidate]
model = "{candidate}.onnx"

# What both networks were trained on; they get pixels in [0, 1], and this is applied inside.
[preprocessing]
mean = {list(mean)}
std = {list(std)}

[data.test]
path = "test.npz"

[certificate]
organisation = "prune-audit demonstration"
"""
