"""Claims as a policy writes them: a value of the scope may stand for several."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from audit.types import Claim

ANY = "*"
LIST = "$"
NAMED_BY_DATA = frozenset({"set", "shift"})
"""Keys of a scope whose values are names that the user gave to data."""
SAID = frozenset({"attribute", "value"})
"""Keys whose values are names of what the user says of items; where nothing is said, they stand for themselves."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A claim id in which a value may be `*`, for every value, or `$name`, for those of a named list."""

    claim: Claim

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read a claim of a policy; raises ValueError where `*` or `$` is only a part of a word.

        >>> Pattern.parse("accuracy.drop@noise=*,level=$mild").lists
        ('mild',)
        """
        claim = Claim.parse(text)
        if special(claim.metric) or any(special(key) for key, _ in claim.scope):
            raise ValueError(f"{text!r}: only a value of the scope can be `*` or `$name`")
        if any(special(value.removeprefix(LIST) or LIST) for _, value in claim.scope if value != ANY):
            raise ValueError(f"{text!r}: `*` stands for a whole value, and `$` begins the name of a list")
        return cls(claim)

    @property
    def explicit(self) -> bool:
        """Whether it names one claim."""
        return not any(special(value) for _, value in self.claim.scope)

    @property
    def lists(self) -> tuple[str, ...]:
        """The lists it names."""
        return tuple(value.removeprefix(LIST) for _, value in self.claim.scope if value.startswith(LIST))

    def written_out(self, lists: Mapping[str, Sequence[str]]) -> Iterator["Pattern"]:
        """The pattern with every list replaced by each of its values, in their order; KeyError on an unknown list.

        >>> [part.claim.id for part in Pattern.parse("a@k=$two,j=*").written_out({"two": ["x", "y"]})]
        ['a@j=*,k=x', 'a@j=*,k=y']
        """
        keys = [key for key, _ in self.claim.scope]
        choices = [
            lists[value.removeprefix(LIST)] if value.startswith(LIST) else (value,) for _, value in self.claim.scope
        ]
        for values in product(*choices):
            yield Pattern(Claim(self.claim.metric, tuple(zip(keys, values, strict=True))))

    def matches(self, claim: Claim) -> bool:
        """Whether a promised claim is meant: the same metric, the same keys, and every value or `*`."""
        return (
            claim.metric == self.claim.metric
            and [key for key, _ in claim.scope] == [key for key, _ in self.claim.scope]
            and all(mine in (ANY, theirs) for (_, mine), (_, theirs) in zip(self.claim.scope, claim.scope, strict=True))
        )

    def resembles(self, claim: Claim) -> bool:
        """Whether a claim is meant but for the name of its data set, or of what is said of it, which is the user's.

        >>> Pattern.parse("accuracy.drop@shift=night").resembles(Claim.parse("accuracy.drop@shift=shifted"))
        True
        """
        unsaid = {key for key, value in claim.scope if key in SAID and value == key}
        own = tuple((key, ANY if key in NAMED_BY_DATA | unsaid else value) for key, value in self.claim.scope)
        return Pattern(Claim(self.claim.metric, own)).matches(claim)


def special(text: str) -> bool:
    """Whether a text holds a character that means more than itself.

    >>> special("2/255"), special("$mild")
    (False, True)
    """
    return ANY in text or LIST in text
