"""What an audit file says of its data sets: where each lies, and what it is called where there are several."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_validator,
)

from audit.configuration import Settings
from audit.types import LABEL, DataName, DataRole, data_name

Numbers = Annotated[tuple[float, ...], Field(strict=False)]
"""In Python, which is what comes out of a validator such as `_by_label`, also as a list."""


def _nameable(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("no file name holds a NUL character")
    return path


TARGET = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
FileName = Annotated[Path, Field(strict=False), AfterValidator(_nameable)]
"""A path; in Python also as a string."""


def _file_or_names(given: object) -> object:
    """Raises ValueError for anything else, in one sentence for both."""
    names = isinstance(given, list | tuple) and given and all(isinstance(name, str) for name in given)
    if not names and not isinstance(given, str | Path | None):
        raise ValueError("attributes are the name of a .csv, or a list of names of arrays of the .npz")
    return given


Attributes = Annotated[FileName | Annotated[tuple[str, ...], Field(strict=False)], BeforeValidator(_file_or_names)]
"""A CSV, or names of arrays."""


class DataEntry(Settings):
    """One data set: a `path`, a data set of torchvision by name, or your own `factory`.

    A path is an `.npz` with x, y and optionally classes, an `.npy` of items, or a folder with one folder of images per
    class, or with the folders images and masks.
    """

    path: FileName | None = None
    labels: FileName | None = Field(None, description="for a path that is an .npy: the .npy with its labels")
    layout: Literal["auto", "NHWC", "NCHW"] = "auto"
    torchvision: str | None = Field(None, description="class name in torchvision.datasets, such as CIFAR10")
    root: FileName | None = Field(None, description="where torchvision's data lie")
    download: bool = Field(False, description="let torchvision fetch them; without this no connection is opened")
    factory: Annotated[str, Field(pattern=TARGET)] | None = Field(
        None, description="`module:factory`, your own code, which gives a torch Dataset or a MAITE data set"
    )
    low: float | Numbers | None = Field(
        None, description="items that are no images: the least value of each feature, or of all"
    )
    high: float | Numbers | None = Field(None, description="and the greatest; an .npz may hold both instead")
    arguments: dict[str, JsonValue] = Field({}, description="keyword arguments of torchvision's class or the factory")
    attributes: Attributes | None = Field(
        None,
        description="of the test set: a .csv with the weather, the site … of every item, or the names of arrays of the "
        ".npz",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "DataEntry":
        if sum(source is not None for source in (self.path, self.torchvision, self.factory)) != 1:
            raise ValueError("give exactly one of path, torchvision and factory")
        if (self.torchvision is None) != (self.root is None):
            raise ValueError("torchvision needs a root, and only torchvision takes one")
        if self.download and self.torchvision is None:
            raise ValueError("only torchvision downloads")
        if self.labels is not None and self.path is None:
            raise ValueError("labels belong to a path")
        if self.arguments and self.path is not None:
            raise ValueError("only torchvision and a factory take arguments")
        if (self.low is None) != (self.high is None) or (self.low is not None and self.torchvision is not None):
            raise ValueError("low and high belong together, and torchvision has images")
        return self


class CorruptedEntry(Settings):
    """The test set under corruptions, ready-made: a folder as that of CIFAR-10-C, or as that of ImageNet-C.

    Either NAME.npy with the five severities one after another and labels.npy, or NAME/SEVERITY/CLASS/ with images.
    """

    path: FileName


def _by_label(given: object) -> object:
    """One data set under no label; a table of tables is one of several, by label. Raises ValueError for a bad label."""
    if isinstance(given, DataEntry):
        return {"": given}
    if not isinstance(given, dict):
        return given
    tables = [label for label, entry in given.items() if isinstance(entry, dict | DataEntry)]
    if not given or len(tables) < len(given):
        beside = next((label for label in tables if label != "arguments"), None)
        if beside is not None:
            raise ValueError(f"{beside!r} stands beside the keys of one data set: give every one a name, or none")
        return {"": given}
    bad = next((label for label in given if not re.fullmatch(LABEL, str(label))), None)
    if bad is not None:
        raise ValueError(f"{bad!r} is no name of a data set: letters, digits, and . _ - after the first")
    return given


def _plain(entries: Mapping[str, DataEntry], dump: SerializerFunctionWrapHandler) -> object:
    """As it was written: one data set without a label is no table of tables."""
    return dump(entries)[""] if "" in entries else dump(entries)


_Label = Annotated[str, Field(pattern=f"^{LABEL}$")]
Entries = Annotated[
    Mapping[str, DataEntry],
    BeforeValidator(_by_label, json_schema_input_type=DataEntry | dict[_Label, DataEntry]),
    WrapSerializer(_plain),
]
"""One data set, or several by label."""


class Data(Settings):
    """Data sets by role; of some roles there may be several, each in a table of its own."""

    test: DataEntry
    shifted: Entries | None = Field(None, description="labelled inputs from other conditions")
    out_of_distribution: Entries | None = Field(None, description="inputs of no class; labels are ignored")
    calibration: DataEntry | None = None
    corrupted: CorruptedEntry | None = None
    private: bool = Field(False, description="show no item in a certificate, and keep no picture beside it")

    @model_validator(mode="after")
    def _test_attributes(self) -> "Data":
        other = next((name for name, each in self.entries().items() if each.attributes and name != DataRole.TEST), None)
        if other is not None:
            raise ValueError(f"the {other} data have attributes, and only those of the test set are looked at")
        return self

    def entries(self) -> dict[DataName, DataEntry]:
        """The data sets that are there, but for corrupted ones: how many those are is in their folder."""
        several = {DataRole.SHIFTED: self.shifted, DataRole.OUT_OF_DISTRIBUTION: self.out_of_distribution}
        named = {data_name(role, label): each for role in several for label, each in (several[role] or {}).items()}
        last = {} if self.calibration is None else {data_name(DataRole.CALIBRATION): self.calibration}
        return {data_name(DataRole.TEST): self.test, **named, **last}
