"""Tiny ONNX files: detectors with constant outputs, an embedder that averages, small networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)


def constants(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    *,
    shape: tuple = (1, 3, "H", "W"),
    declared: Mapping[str, list] | None = None,
) -> Path:
    """A graph that ignores its input and gives these arrays."""
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))
        for name, value in outputs.items()
    ]
    infos = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, list((declared or {}).get(name, value.shape))
        )
        for name, value in outputs.items()
    ]
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))
    return _save(path, helper.make_graph(nodes, "g", [entry], infos))


def embedder(path: Path, *, dim: int = 5, bias: float = 0.0, props: dict | None = None) -> Path:
    """(N, 3, 112, 112) to the mean of each quarter's channels times a fixed matrix, plus a bias."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(12, dim)).astype(np.float32)
    nodes = [
        helper.make_node(
            "AveragePool", ["input"], ["pooled"], kernel_shape=[56, 56], strides=[56, 56]
        ),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["embedding"]),
    ]
    stored = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.full(dim, bias, np.float32), "bias"),
    ]
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 112, 112])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", dim])
    return _save(path, helper.make_graph(nodes, "g", [entry], [out], stored), props)


def inverse_of_mean(path: Path) -> Path:
    """An embedder whose embedding is 1 / mean: not finite for a crop whose mean is 0."""
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reciprocal", ["mean"], ["embedding"]),
    ]
    axes = numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "axes")
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 112, 112])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 3])
    return _save(path, helper.make_graph(nodes, "g", [entry], [out], [axes]))


def channel_means(path: Path, shape: tuple, *, scale: float = 1.0) -> Path:
    """The mean of each of three channels, times a scale: shows what a small network was given."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["out"]),
    ]
    stored = [
        numpy_helper.from_array(np.array(axes, dtype=np.int64), "axes"),
        numpy_helper.from_array(np.array(scale, dtype=np.float32), "scale"),
    ]
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [shape[0], 3])
    return _save(path, helper.make_graph(nodes, "g", [entry], [out], stored))


def rows(size_hw: tuple[int, int], anchors: int) -> list[int]:
    """Rows of the outputs at each stride."""
    return [(size_hw[0] // s) * (size_hw[1] // s) * anchors for s in STRIDES]


def random_outputs(kind: str, size_hw: tuple[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Outputs with a few faces, of the shapes of the real files."""
    rng = np.random.default_rng(seed)

    def scores(count):
        values = rng.uniform(0, 0.3, count)
        chosen = rng.choice(count, max(1, count // 4), replace=False)
        values[chosen] = rng.uniform(0.4, 1.0, len(chosen))
        return values.astype(np.float32)

    def offsets(count, width):
        return rng.uniform(-0.8, 0.8, (count, width)).astype(np.float32)

    if kind == "retinaface":
        count = sum(rows(size_hw, 2))
        good = scores(count)
        return {
            "loc": offsets(count, 4)[None],
            "conf": np.stack([1 - good, good], axis=-1)[None],
            "landms": offsets(count, 10)[None] * 5,
        }
    if kind == "yunet":
        parts = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
        return {
            f"{part}_{stride}": (
                scores(count)[None, :, None] if width == 1 else offsets(count, width)[None]
            )
            for part, width in parts.items()
            for stride, count in zip(STRIDES, rows(size_hw, 1), strict=True)
        }
    if kind == "crossface":
        count = sum(rows(size_hw, 1))
        return {
            "score": scores(count)[None, :, None],
            "box": offsets(count, 4)[None],
            "points": offsets(count, 10)[None],
            "angles": offsets(count, 3)[None],
        }
    counts = rows(size_hw, 2)
    out = {f"s{i}": scores(count)[:, None] for i, count in enumerate(counts)}
    out |= {f"b{i}": np.abs(offsets(count, 4)) + 0.3 for i, count in enumerate(counts)}
    out |= {f"k{i}": offsets(count, 10) for i, count in enumerate(counts)}
    return out


def one_face(path: Path, *, side: int = 64, coincide: bool = False, faces: int = 1) -> Path:
    """A RetinaFace file of fixed size that sees the same frontal faces in every picture.

    The first face has its eyes at (24, 24) and (40, 24) of the network's input.
    """
    count = sum(rows((side, side), 2))
    loc, landms = np.zeros((1, count, 4), np.float32), np.zeros((1, count, 10), np.float32)
    good = np.zeros(count, np.float32)
    wanted = np.array([[24, 24], [40, 24], [32, 33], [25, 42], [39, 42]], dtype=np.float32)
    if coincide:
        wanted[:] = 32
    for number in range(faces):  # 32-pixel priors at stride 8: cell (row 4, column 4 - 3 * number)
        cell = 4 * (side // 8) + 4 - 3 * number
        row = 2 * cell + 1
        centre = np.array([8 * (4 - 3 * number) + 4, 36], dtype=np.float32)
        good[row] = 0.9 - 0.1 * number
        shifted = wanted - [24 * number, 0]
        landms[0, row] = ((shifted - centre) / (0.1 * 32)).reshape(-1)
    conf = np.stack([1 - good, good], axis=-1)[None].astype(np.float32)
    outputs = {"loc": loc, "conf": conf, "landms": landms}
    return constants(path, outputs, shape=(1, 3, side, side))


def _save(path: Path, graph: onnx.GraphProto, props: dict | None = None) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, props or {})
    onnx.save(model, path)
    return path
