"""Damage to an exported program: to the zip archive around it, to its JSON, and code where only numbers belong."""

import io
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from random import Random
from typing import Any

import torch
from torch import nn

from tests.fuzzing import BYTES, Files, Mutation, first
from tests.tinynets import CLASSES, INPUT

Entries = list[tuple[str, bytes]]
ENDED = 77
"""How the process ends in which a planted payload runs."""
PROGRAM = ("models/model.json", "data/sample_inputs/model.pt")
"""What torch runs code from, of a file that is trusted: its expressions and its sample inputs."""
SIZES = (-1, 0, 1, 5, 2**31, 2**62, 2**80)


class Payload:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (ENDED,)


def pickled() -> bytes:
    """A checkpoint of torch that ends its reader."""
    stream = io.BytesIO()
    torch.save(Payload(), stream)
    return stream.getvalue()


@cache
def originals() -> dict[str, Files]:
    """The program of a network with weights, statistics, and one size left open."""
    torch.manual_seed(0)
    layers = nn.Conv2d(INPUT[0], 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()
    network = nn.Sequential(*layers, nn.Linear(4, CLASSES)).eval()
    stream, free = io.BytesIO(), ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (torch.zeros(2, *INPUT),), dynamic_shapes=free)
        torch.export.save(program, stream)
    return {"small": {"model.pt2": _without_origin(stream.getvalue())}}


def entries(content: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(each.filename, archive.read(each)) for each in archive.infolist()]


def packed(found: Entries, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these entries, names of which may come twice."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in found:
            if name in archive.NameToInfo:
                del archive.NameToInfo[name]  # which would warn
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def _without_origin(content: bytes) -> bytes:
    """The same program without what the exporter notes of the machine that it ran on."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: {} if key == "metadata" else strip(each) for key, each in value.items()}
        return [strip(each) for each in value] if isinstance(value, list) else value

    return packed(
        [(n, json.dumps(strip(json.loads(c))).encode() if n.endswith("model.json") else c) for n, c in entries(content)]
    )


def same_program(one: bytes, other: bytes) -> bool:
    """Whether two archives have the same parts that code is run from, and neither calls a weight a pickle."""
    try:
        a, b = ([each for each in entries(content) if each[0].endswith(PROGRAM)] for content in (one, other))
        weights = _json(entries(one), "model_weights_config.json")["config"]
        return a == b and not any(each["use_pickle"] for each in weights.values())
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, LookupError, AttributeError, TypeError):
        return False


def _of_entries(change: Callable[[Random, Entries], Entries | None]) -> Mutation:
    return first(lambda rng, content: packed(change(rng, found := entries(content)) or found))


def _drop(rng: Random, found: Entries) -> None:
    found.pop(rng.randrange(len(found)))


def _rename(rng: Random, found: Entries) -> None:
    place = rng.randrange(len(found))
    name, content = found[place]
    last = name.rpartition("/")[2]
    names = (
        f"../../{last}",
        f"/tmp/{last}",
        f"archive/../../{last}",
        name.replace("/", "\\"),
        name[:-1],
        name + "\0",
        "",
    )
    found[place] = (rng.choice(names), content)


def _double(rng: Random, found: Entries) -> None:
    """A second entry of a name, before or after the first."""
    name, content = rng.choice(found)
    found.insert(rng.choice((0, len(found))), (name, content[: len(content) // 2]))


def _other_kind(rng: Random, found: Entries) -> None:
    """What makes a state dict or TorchScript of it, in the eyes of somebody."""
    name = rng.choice(("archive/data.pkl", "archive/constants.pkl", "archive/code/x.py", "data.pkl"))
    found.insert(rng.choice((0, len(found))), (name, pickled()))
    if rng.random() < 0.5:
        found[:] = [each for each in found if not each[0].endswith(("archive_format", "model.json"))]


def _payload(rng: Random, found: Entries) -> None:
    """A pickle that calls code, in the place of anything but the program."""
    name = rng.choice([name for name, _ in found if not name.endswith(PROGRAM)])
    found[:] = [(n, pickled() if n == name else c) for n, c in found]


def _payload_beside(rng: Random, found: Entries) -> None:
    """A pickle that calls code, where a program may keep further things."""
    place = rng.choice(("data/constants/tensor_0", "data/constants/custom_obj_0", "extra/x", "data/weights/weight_9"))
    found.insert(rng.randrange(len(found)), (f"archive/{place}", pickled()))


def _payload_weight(rng: Random, found: Entries) -> None:
    """The same as a weight that is said to be pickled, which torch reads without restriction."""

    def change(config: Any) -> None:
        config["config"][chosen]["use_pickle"] = True

    chosen = rng.choice([*_json(found, "model_weights_config.json")["config"]])
    place = _json(found, "model_weights_config.json")["config"][chosen]["path_name"]
    _edit(found, "model_weights_config.json", change)
    found[:] = [(n, pickled() if n.endswith(f"weights/{place}") else c) for n, c in found]


def _content(rng: Random, found: Entries) -> None:
    place = rng.randrange(len(found))
    name, content = found[place]
    other = (b"", rng.randbytes(len(content)), content[:-1], content + b"\0", b"[" * 100_000, b"{}", b"null")
    found[place] = (name, rng.choice(other))


def _exchange_entries(rng: Random, found: Entries) -> None:
    a, b = rng.sample(range(len(found)), 2)
    found[a], found[b] = (found[a][0], found[b][1]), (found[b][0], found[a][1])


def _json(found: Entries, ending: str) -> Any:
    return json.loads(b"".join(content for name, content in found if name.endswith(ending)))


def _edit(found: Entries, ending: str, change: Callable[[Any], None]) -> None:
    document = _json(found, ending)
    change(document)
    found[:] = [(n, json.dumps(document).encode() if n.endswith(ending) else c) for n, c in found]


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON document that holds no list and no object."""
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(each, (dict, list)):
            yield from _leaves(each)
        else:
            yield value, key


def _leaf(ending: str, kind: type, other: tuple[Any, ...]) -> Mutation:
    """Another value in the place of one of a kind."""

    def change(rng: Random, found: Entries) -> None:
        def replace(document: Any) -> None:
            holder, key = rng.choice([(h, k) for h, k in _leaves(document) if type(h[k]) is kind])
            holder[key] = rng.choice(other)

        _edit(found, ending, replace)

    return _of_entries(change)


def _target(rng: Random, found: Entries) -> None:
    """A node of the program that calls another operator."""
    names = ("torch.ops.aten.relu.default", "torch.ops.aten.conv2d.default", "torch.ops.none.such", "_operator.add", "")

    def change(document: Any) -> None:
        rng.choice(document["graph_module"]["graph"]["nodes"])["target"] = rng.choice(names)

    _edit(found, "model.json", change)


def _lies(offset: int, mark: bytes) -> Mutation:
    """Another number of four bytes in a header of the archive."""

    def change(rng: Random, content: bytes) -> bytes:
        places, start = [], content.find(mark)
        while start >= 0:
            places.append(start)
            start = content.find(mark, start + 1)
        place = rng.choice(places) + offset
        number = rng.choice((0, 1, 99, 2**16, 2**31, 2**32 - 1)).to_bytes(4, "little")
        return content[:place] + number + content[place + 4 :]

    return first(change)


def _deflated(rng: Random, content: bytes) -> bytes:
    """Compressed, with zeros by the megabyte among the weights."""
    bomb = ("archive/data/weights/weight_0", b"\0" * rng.randrange(2**26))
    return packed([bomb if name == bomb[0] else (name, each) for name, each in entries(content)], zipfile.ZIP_DEFLATED)


_LOCAL, _CENTRAL, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_ENTRIES = (
    _drop,
    _rename,
    _double,
    _other_kind,
    _payload,
    _payload_beside,
    _payload_weight,
    _content,
    _exchange_entries,
    _target,
)
MUTATIONS: Mapping[str, Mutation] = {
    **BYTES,
    **{change.__name__.strip("_"): _of_entries(change) for change in _ENTRIES},
    "size-here": _lies(18, _LOCAL),
    "method": _lies(8, _CENTRAL),
    "size-listed": _lies(24, _CENTRAL),
    "offset": _lies(42, _CENTRAL),
    "end": _lies(12, _END),
    "deflated": first(_deflated),
    "weight-number": _leaf("model_weights_config.json", int, SIZES),
    "weight-flag": _leaf("model_weights_config.json", bool, (True, False, None, "x")),
    "weight-text": _leaf("model_weights_config.json", str, ("../weight_0", "weight_1", "", "cuda", "/etc/passwd")),
    "program-number": _leaf("model.json", int, SIZES),
    "program-text": _leaf("model.json", str, ("x", "", "linear", "torch.ops.aten.relu.default", "9" * 5000)),
}
