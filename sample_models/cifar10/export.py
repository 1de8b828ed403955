"""Writes a trained network as ONNX and checks that the file computes the same and kept its zeros."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from sample_models.cifar10.pruning import zero_count

OPSET = 20
TOLERANCE = 1e-4
WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})


def write_onnx(model: nn.Module, path: Path, images: Tensor) -> None:
    """Writes `model`, in evaluation mode, to `path`: `image` [batch, 3, 32, 32] to `logits` [batch, 10].

    `images` are normalised images, float32 [N, 3, 32, 32] with N ≥ 2, on which file and model are compared.
    Raises ValueError if the logits differ by 1e-4 or more, or if a zero weight of the model is lost.
    """
    model.eval()
    torch.onnx.export(
        model,
        (images[:2].contiguous(),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    proto = onnx.load(path)
    _drop_metadata(proto)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
    _check_zeros(model, proto)
    _check_logits(model, path, images)


def _drop_metadata(proto: onnx.ModelProto) -> None:
    # The exporter notes for each node the source lines, with their absolute paths, that it came from.
    graph = proto.graph
    del proto.metadata_props[:], graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _check_zeros(model: nn.Module, proto: onnx.ModelProto) -> None:
    # Folding a batch normalisation multiplies a row by its scale: it may add zeros (scale 0), never lose one.
    names = {node.input[1] for node in proto.graph.node if node.op_type in WEIGHTED}
    arrays = [numpy_helper.to_array(item) for item in proto.graph.initializer if item.name in names]
    zeros, total = zero_count(model)
    written_zeros = sum(int((array == 0).sum()) for array in arrays)
    written = sum(array.size for array in arrays)
    if written != total or written_zeros < zeros:
        raise ValueError(f"{written_zeros} of {written} written weights are zero, not {zeros} of {total}")


def _check_logits(model: nn.Module, path: Path, images: Tensor) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = model(images).numpy()
    written = session.run(["logits"], {"image": images.contiguous().numpy()})[0]
    difference = float(np.abs(written - expected).max())
    if not difference < TOLERANCE:
        raise ValueError(f"{path.name}: logits differ from the trained network's by {difference:g}")
    print(f"{path.name}: greatest difference to the trained network on {len(images)} images {difference:.2g}")
