"""What evidence says of its subjects: the program, the task, the models and the data."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from audit import types
from audit.structure import Layer

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RoleName = Literal["reference", "candidate", "baseline", "origin"]
DataName = Annotated[types.DataName, Field(pattern=types.DATA_NAME)]


class Record(BaseModel):
    """Base of every part: frozen, no unknown key, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tool(Record):
    """The program that made the audit."""

    name: str
    version: str
    method_set: str = Field(description="version of the statistical methods and of the item order")
    sources_sha256: Sha256 = Field(description="digest over the installed sources of the program")


class TaskRecord(Record):
    """What the models are for, by the audit file; what does not concern the kind of task is as below."""

    kind: Literal["classification", "segmentation", "regression", "control"] = "classification"
    ignore: int = Field(255, description="segmentation: label of the pixels that count for nothing")
    absolute: float = Field(0.0, description="regression, control: how far apart two values are still the same, and")
    relative: float = Field(0.0, description="so much more, as a part of the value that the other is compared with")
    rule: Literal["argmin", "argmax"] = Field("argmin", description="control: the output that decides")


class FeaturesRecord(Record):
    """What items are that are no images: their shape, and the bounds of their values in the units of the data."""

    item: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class WatchedRecord(Record):
    """A layer whose values are looked at beside the outputs."""

    layer: str
    values: int = Field(description="of one item, images averaged over their height and width")


class Adapter(Record):
    """How a model is fed and read, as declared in the audit file."""

    layout: Literal["NCHW", "NHWC"]
    range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: tuple[int, int] | None = Field(None, description="height and width that items are brought to")
    item: tuple[int, ...] = Field((), description="shape of one item where the network takes no image")
    dtype: Literal["auto", "float16", "float32", "float64", "uint8"] = "auto"
    features: FeaturesRecord | None = Field(None, description="the bounds by which shares become values again")
    watched: WatchedRecord | None = Field(
        None, exclude_if=lambda found: found is None, description="the layer that the audit file names, if it does"
    )
    outputs: Literal["auto", "logits", "probabilities", "log-probabilities", "values"] = Field(
        description="declared, or settled from the observed outputs; auto where nothing could be settled"
    )


class StructureRecord(Record):
    """What the weights of a model really are, as its operators receive them."""

    layers: tuple[Layer, ...] = ()
    parameters: int = Field(0, description="all values: weights, biases, scales and shifts of normalisations")
    nonzero: int = 0
    compressed: int = Field(0, description="bytes that zlib needs for the values as float32")
    unknown: str = Field("", description="why it could not be told; '' where it could")


class GradientsRecord(Record):
    """Whether a model has gradients that can be trusted."""

    how: Literal["torch", "converted", "dead", "none"] = Field(
        description="those of a torch module itself, of an ONNX file as converted to torch, none that lead anywhere, "
        "or none at all"
    )
    deviation: float = Field(
        0.0, description="greatest difference of outputs to those of the audit, as a part of the largest"
    )
    items: int = Field(0, description="items of the test set that were compared")
    why: str = Field("", description="why there are none; '' where there are")


class ModelRecord(Record):
    """A model that took part, identified by its digest; what its file is called stands in `Run.names`."""

    role: RoleName
    format: str
    sha256: Sha256
    bytes: int
    parameters: int = Field(description="weights as stored in the file")
    nonzero: int = Field(description="weights stored in the file that are not zero")
    structure: StructureRecord | None = Field(None, description="null where no check asked for it")
    gradients: GradientsRecord | None = Field(None, description="null where no check asked for it")
    adapter: Adapter
    runtime: dict[str, str | int] = Field(description="engine, version, provider, threads, optimisation")


class AttributeRecord(Record):
    """What a user says of the items of a data set, such as the weather in them."""

    name: str
    values: tuple[str, ...]
    items: tuple[int, ...] = Field(description="distinct items of each value")
    sha256: Sha256 = Field(description="digest over the data set, the name, the values, and which item has which")


class DataRecord(Record):
    """A data set that was used: identified by the digest over its item ids and labels in stored order."""

    role: DataName = Field(description="what it is for; where several are for one thing, with what it is called")
    sha256: Sha256
    items: int = Field(description="distinct items that count")
    duplicates: int = Field(description="further copies of an item, which do not count")
    shape: tuple[int, int, int] = Field(
        description="channels, height, width; of items that are no images features, 1, 1"
    )
    stored: str = Field(description="element type in the file")
    features: FeaturesRecord | None = Field(None, description="of items that are no images")
    classes: tuple[str, ...] = Field(description="none where the targets are values")
    per_class: tuple[int, ...] = Field(description="items of each class; of masks, items with a pixel of it")
    chance: float = Field(0.0, description="share of the items that the best single answer gets right")
    attributes: tuple[AttributeRecord, ...] = Field(
        (), exclude_if=lambda found: not found, description="what a user says of the items"
    )
