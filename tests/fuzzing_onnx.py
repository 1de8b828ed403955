"""Damage to what an ONNX file says: operators, attributes, shapes, tensors, names, and where weights lie."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from tests.fuzzing import BYTES, Files, Mutation, first
from tests.tinynets import path, quantised

EXTREMES = (-(2**63), -1, 0, 1, 7, 2**31, 2**40, 2**62)
OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
WEIGHTS = "weights.bin"


def originals() -> dict[str, Files]:
    """Networks of both exporters, a quantised one, and one with its weights in another file."""
    files = [path("resnet", "dynamo"), path("mobilenet", "TorchScript"), path("vit", "dynamo"), quantised("resnet")]
    return {file.stem: {"model.onnx": file.read_bytes()} for file in files} | {"outside": _outside(files[0])}


def _outside(file: Path) -> Files:
    model, beside = onnx.load(file), b""
    for tensor in model.graph.initializer:
        told = {"location": WEIGHTS, "offset": str(len(beside)), "length": str(len(tensor.raw_data))}
        beside += tensor.raw_data
        _lay_outside(tensor, told)
    return {"model.onnx": model.SerializeToString(), WEIGHTS: beside}


def _lay_outside(tensor: TensorProto, told: Mapping[str, str]) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    del tensor.external_data[:]
    for key, value in told.items():
        tensor.external_data.add(key=key, value=value)


def _of_message(change: Callable[[Random, ModelProto], None]) -> Mutation:
    def mutate(rng: Random, files: Files) -> Files:
        model = onnx.load_model_from_string(files["model.onnx"])
        change(rng, model)
        return {**files, "model.onnx": model.SerializeToString()}

    return mutate


def _attributes(model: ModelProto) -> list[Any]:
    return [attribute for node in model.graph.node for attribute in node.attribute]


def _operator(rng: Random, model: ModelProto) -> None:
    node = rng.choice(model.graph.node)
    node.op_type = rng.choice([*OPERATORS, "", "Nonsense", "../x"])
    node.domain = rng.choice(["", "", "com.microsoft", "ai.onnx.ml", "evil"])


def _attribute(rng: Random, model: ModelProto) -> None:
    """Another number in an attribute, or a list of another length."""
    attribute = rng.choice(_attributes(model))
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(EXTREMES)
        attribute.ints.extend([1] * rng.choice((0, 0, 2)))
    elif attribute.type == attribute.FLOAT:
        attribute.f = rng.choice((-1.0, 0.0, 1e38, float("nan")))
    else:
        attribute.i = rng.choice(EXTREMES)


def _attribute_kind(rng: Random, model: ModelProto) -> None:
    attribute = rng.choice(_attributes(model))
    attribute.type = rng.randrange(16)
    attribute.name = rng.choice((attribute.name, "axis", "body", "then_branch", "to"))


def _sizes(rng: Random, model: ModelProto) -> None:
    """A tensor that says that it has more or fewer values than it has."""
    tensor = rng.choice([each for each in model.graph.initializer if each.dims])
    tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(EXTREMES)


def _more_sizes(rng: Random, model: ModelProto) -> None:
    """Sizes whose product leaves every range of integers."""
    rng.choice(model.graph.initializer).dims.extend([2**31, 2**31, 2**31])


def _element(rng: Random, model: ModelProto) -> None:
    rng.choice(model.graph.initializer).data_type = rng.randrange(32)


def _values(rng: Random, model: ModelProto) -> None:
    """Other weights, some of them no numbers."""
    tensor = rng.choice([each for each in model.graph.initializer if each.raw_data] or model.graph.initializer)
    size = len(tensor.raw_data)
    tensor.raw_data = rng.choice((rng.randbytes(size), b"\xff" * size, b"\0" * size, tensor.raw_data[:-1]))


def _twice(rng: Random, model: ModelProto) -> None:
    """A tensor with its values in two places."""
    tensor = rng.choice(model.graph.initializer)
    tensor.float_data.extend([1.0] * rng.randrange(1, 9))
    tensor.int32_data.append(rng.choice((-1, 2**31 - 1)))


def _input(rng: Random, model: ModelProto) -> None:
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    rng.choice(sizes).dim_value = rng.choice(EXTREMES)
    if rng.random() < 0.3:
        del sizes[rng.randrange(len(sizes)) :]
    if rng.random() < 0.3:
        model.graph.input[0].type.tensor_type.elem_type = rng.randrange(24)


def _rewire(rng: Random, model: ModelProto) -> None:
    """An input from anywhere: earlier, later, or the node itself."""
    node = rng.choice([each for each in model.graph.node if each.input])
    names = [name for each in model.graph.node for name in (*each.input, *each.output)]
    node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "absent"])


def _name(rng: Random, model: ModelProto) -> None:
    """Two values of one name, or an output that nobody makes."""
    node = rng.choice(model.graph.node)
    node.output[0] = rng.choice((model.graph.input[0].name, model.graph.node[0].output[0], "x" * 10_000, ""))


def _drop(rng: Random, model: ModelProto) -> None:
    for _ in range(rng.randrange(1, 4)):
        rng.choice((model.graph.node, model.graph.initializer)).pop()
    del model.graph.node[rng.randrange(len(model.graph.node))]


def _outputs(rng: Random, model: ModelProto) -> None:
    made = rng.choice([name for node in model.graph.node for name in node.output])
    if rng.random() < 0.7:
        model.graph.output.pop()
    model.graph.output.append(helper.make_tensor_value_info(made, rng.choice((1, 1, 7, 11)), ["a", "b"]))


def _version(rng: Random, model: ModelProto) -> None:
    model.opset_import[0].version = rng.choice((*EXTREMES, 6, 13, 21, 30))
    if rng.random() < 0.3:
        model.ir_version = rng.choice((0, 3, 99, 2**62))


def _place(rng: Random, model: ModelProto) -> None:
    """Weights in files that are none of the model's."""
    places = (
        "../" + WEIGHTS,
        "/etc/passwd",
        "/dev/zero",
        "model.onnx",
        "absent",
        "",
        "a/../" + WEIGHTS,
        "./" + WEIGHTS,
    )
    told = {"location": rng.choice(places), "offset": str(rng.choice((0, 0, -1, 8, 2**62)))}
    _lay_outside(rng.choice(model.graph.initializer), {**told, "length": str(rng.choice((0, 4, 2**40)))})


def _add(model: ModelProto, nodes: Sequence[NodeProto]) -> None:
    """Add the value "more" to the output of a network."""
    made = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == made else name for name in node.output]
        node.input[:] = ["before" if name == made else name for name in node.input]
    model.graph.node.extend([*nodes, helper.make_node("Add", ["before", "more"], [made])])


def _huge(rng: Random, model: ModelProto) -> None:
    """More values than any machine holds, or than 64 bits count, made by a node of a few bytes."""
    size = rng.choice(([2**33], [2**40], [2**62], [2**31, 2**31, 2**31], [-1]))
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    model.graph.initializer.extend([one, helper.make_tensor("size", TensorProto.INT64, [len(size)], size)])
    operator, taken = rng.choice(
        (("ConstantOfShape", ["size"]), ("Expand", ["one", "size"]), ("Tile", ["one", "size"]))
    )
    many = helper.make_node(operator, taken, ["many"])
    _add(model, [many, helper.make_node("ReduceMax", ["many"], ["more"], keepdims=0)])


def _laughs(rng: Random, model: ModelProto) -> None:
    """Functions that call the next one twice: the last one is carried out very often."""
    depth = rng.choice((1, 4, 9, 20, 40, 60))
    for level in range(depth):
        inner, domain = (f"f{level + 1}", "own") if level + 1 < depth else ("Neg", "")
        nodes = [helper.make_node(inner, [a], [b], domain=domain) for a, b in (("a", "b"), ("b", "c"))]
        model.functions.append(helper.make_function("own", f"f{level}", ["a"], ["c"], nodes, [*model.opset_import]))
        model.functions[-1].opset_import.add(domain="own", version=1)
    model.opset_import.add(domain="own", version=1)
    model.graph.initializer.append(helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]))
    _add(model, [helper.make_node("f0", ["one"], ["more"], domain="own")])


def _nested(rng: Random, content: bytes) -> bytes:
    """Loops inside loops, as deep as readers of the format go, and deeper."""
    inner, given = b"", _field(2, b"inner") + _field(12, _field(1, b"o") + _field(2, _field(1, b"")))
    for _ in range(rng.choice((5, 20, 40, 200, 20_000))):
        body = _field(1, b"body") + _field(6, inner + given) + b"\xa0\1\5"
        inner = _field(1, _field(1, b"") * 2 + _field(2, b"o") + _field(4, b"Loop") + _field(5, body))
    return content + _field(7, inner)


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message, as bytes: what its library would not write."""
    size, length = len(content), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def _function(rng: Random, model: ModelProto) -> None:
    """An operator that is defined by itself."""
    node = helper.make_node("Again", ["a"], ["b"], domain="own")
    function = helper.make_function("own", "Again", ["a"], ["b"], [node] * rng.choice((1, 2)), model.opset_import)
    model.functions.append(function)
    model.opset_import.add(domain="own", version=1)
    chosen = rng.choice(model.graph.node)
    chosen.op_type, chosen.domain = "Again", "own"


def _sparse(rng: Random, model: ModelProto) -> None:
    """A sparse tensor with values at places that it has not, or of more zeros than any machine holds."""
    tensor = model.graph.initializer.pop()
    found = model.graph.sparse_initializer.add(dims=[rng.choice((4, 2**40))])
    found.values.CopyFrom(helper.make_tensor(tensor.name, TensorProto.FLOAT, [2], [1.0, 2.0]))
    places = sorted(rng.sample((-1, 0, 2, 3, 2**39), 2), key=lambda place: place + rng.random() * 4)
    found.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [2], places))


def _metadata(rng: Random, model: ModelProto) -> None:
    """Names of classes that are an expression without end, or no text."""
    said = (
        "(" * 50_000,
        "[" * 90 + "]" * 90,
        "-" * 100_000 + "1",
        "{0: open('x')}",
        "__import__('os')._exit(77)",
        "9" * 10_000,
    )
    model.metadata_props.add(key="names", value=rng.choice(said) + " " * rng.randrange(9))


def _beside(rng: Random, files: Files) -> Files:
    """The file with the weights damaged or gone."""
    files = files if WEIGHTS in files else _outside(path("resnet", "dynamo"))
    held = files[WEIGHTS]
    return {**files, WEIGHTS: rng.choice((held[:-1], held + b"\0", rng.randbytes(len(held)), held[1:] + held[:1], b""))}


def endless() -> bytes:
    """A network that adds up longer than anybody waits."""
    model = onnx.load(path("resnet", "dynamo"))
    values = [helper.make_tensor_value_info(*each, []) for each in (("i", 7), ("go", 9), ("a", 1))]
    given = [helper.make_tensor_value_info("on", 9, []), helper.make_tensor_value_info("b", 1, [])]
    steps = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["a"], ["b"])]
    body = helper.make_graph(steps, "body", values, given)
    stored = (("times", TensorProto.INT64, 2**62), ("yes", TensorProto.BOOL, True), ("zero", TensorProto.FLOAT, 0.0))
    model.graph.initializer.extend(helper.make_tensor(name, kind, [], [value]) for name, kind, value in stored)
    _add(model, [helper.make_node("Loop", ["times", "yes", "zero"], ["more"], body=body)])
    return bytes(model.SerializeToString())


_MESSAGES = (
    _operator, _attribute, _attribute_kind, _sizes, _more_sizes, _element, _values, _twice, _input, _rewire, _name,
    _drop, _outputs, _version, _place, _huge, _laughs, _function, _sparse, _metadata,
)  # fmt: skip
MUTATIONS: Mapping[str, Mutation] = {
    **BYTES,
    **{change.__name__.strip("_"): _of_message(change) for change in _MESSAGES},
    "nested": first(_nested),
    "beside": _beside,
}
