"""Damage: what happens to the bytes of a file, the same on every machine for the same number."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

Files = Mapping[str, bytes]
"""A model file and what lies beside it, by name; the model comes first."""
Mutation = Callable[[Random, Files], Files]


@dataclass(frozen=True)
class Mutant:
    """A damaged model; `name` is that of the mutation and its number."""

    name: str
    files: Files

    @property
    def model(self) -> str:
        return next(iter(self.files))


def mutants(originals: Mapping[str, Files], mutations: Mapping[str, Mutation], number: int) -> Iterator[Mutant]:
    """That many mutants, no two alike and none the original: the mutations in turn, of the originals in turn."""
    kinds, sources = list(mutations.items()), list(originals.items())
    seen = [files for _, files in sources]
    for index in range(number):
        (kind, mutate), (source, files) = kinds[index % len(kinds)], sources[index // len(kinds) % len(sources)]
        rng = Random(f"{kind} {index}")
        made = next(each for each in (mutate(rng, files) for _ in range(99)) if each not in seen)
        seen.append(made)
        yield Mutant(f"{index}-{kind}-{source}", made)


def first(change: Callable[[Random, bytes], bytes]) -> Mutation:
    """A mutation of the model file alone."""

    def mutate(rng: Random, files: Files) -> Files:
        name = next(iter(files))
        return {**files, name: change(rng, files[name])}

    return mutate


def _flip(rng: Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def _noise(rng: Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(16):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def _cut(rng: Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def _insert(rng: Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + rng.randbytes(rng.randrange(1, 64)) + content[place:]


def _repeat(rng: Random, content: bytes) -> bytes:
    start, stop = sorted(rng.sample(range(len(content)), 2))
    return content[:stop] + content[start:]


def _exchange(rng: Random, content: bytes) -> bytes:
    a, b, c = sorted(rng.sample(range(len(content)), 3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _wipe(rng: Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    length = min(rng.randrange(1, 64), len(content) - start)
    return content[:start] + bytes([rng.choice((0, 255))]) * length + content[start + length :]


def _prefix(rng: Random, content: bytes) -> bytes:
    return rng.choice((b"\0", b"\x80\2", b"PK", b"\x7fELF", rng.randbytes(9))) + content


BYTES: Mapping[str, Mutation] = {
    "flip": first(_flip),
    "noise": first(_noise),
    "cut": first(_cut),
    "insert": first(_insert),
    "repeat": first(_repeat),
    "exchange": first(_exchange),
    "wipe": first(_wipe),
    "prefix": first(_prefix),
}
