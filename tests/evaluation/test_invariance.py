"""Batch size, threads, and the order of pairs and folds change no figure."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from fakes import MeanEmbedder, NoiseFaces, Pair, PairList, flat
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_limits

from crossface.evaluation.embed import embed_faces
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.protocols.discard import evaluate_discard
from crossface.evaluation.protocols.identification import evaluate_identification
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder

SOURCE = NoiseFaces((4,) * 24, noise=1200.0)  # so noisy that every rate is between its ends
TARGETS = (0.3, 0.1)


def rows():
    found = []
    for person in range(24):
        for turn in range(5):
            other = (person + 4 * (turn + 1)) % 24
            first, second = 4 * person + turn % 3, 4 * person + turn % 3 + 1
            found.append(Pair(person % 4, SOURCE.key(first), SOURCE.key(second), True))
            found.append(Pair(person % 4, SOURCE.key(first), SOURCE.key(4 * other + 3), False))
    return tuple(found)


def build_onnx(path):
    """Means of 16 x 16 patches of each channel, through a fixed matrix."""
    weight = np.random.default_rng(0).normal(size=(147, 24)).astype(np.float32)
    nodes = [
        helper.make_node(
            "AveragePool", ["input"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]
        ),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weight"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


@pytest.fixture(scope="module", params=["numpy", "onnx"])
def embedder(request, tmp_path_factory):
    """A function from threads to an embedder."""
    if request.param == "numpy":
        return lambda threads: MeanEmbedder(2)
    path = build_onnx(tmp_path_factory.mktemp("onnx") / "tiny.onnx")
    return lambda threads: OnnxEmbedder(path, threads=threads)


def numbers(report):
    """A report flat, without its warnings, which are sentences."""
    return flat({key: value for key, value in report.items() if key != "warnings"})


def figures(faces, pairs=None):
    found = {}
    reports = {
        "pairs": evaluate_pairs(faces, PairList(pairs or rows()), fmr_targets=TARGETS),
        "all": evaluate_all_pairs(faces, fmr_targets=TARGETS),
        "identify": evaluate_identification(
            faces, fpir_targets=(0.7,), gallery_share=0.4, ranks=(1, 3)
        ),
    }
    (left,) = evaluate_discard(faces, fmr_targets=(1e-1,))["discard"].values()
    reports["discard"] = {str(place): cut for place, cut in enumerate(left["cuts"])}
    for name, report in reports.items():
        found |= {f"{name}/{key}": value for key, value in numbers(report).items()}
    return found


@pytest.fixture(scope="module")
def faces(embedder):
    with threadpool_limits(1):
        return embed_faces(embedder(1), SOURCE, progress=False)


@pytest.fixture(scope="module")
def reference(faces):
    found = figures(faces)
    for key in (
        "pairs/accuracy/low",
        "pairs/tar_at_fmr/3e-1/value",
        "all/fnmr_at_fmr/1e-1/high",
        "discard/3/fnmr/value",
        "identify/rank/1/value",
        "identify/fnir_at_fpir/7e-1/value",
    ):
        assert 0 < found[key] < 1, key  # figures that could change
    return found


def same(found, reference):
    # embeddings may differ in their last bit, and the AUC reads scores in steps of 3e-5
    assert found == pytest.approx(reference, rel=1e-5, abs=1e-7)


@pytest.mark.filterwarnings("ignore:.*ArcFace convention")
@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (7, 2), (200, 2)])
def test_batch_size_and_threads_change_no_figure(embedder, reference, batch, threads):
    with threadpool_limits(threads):
        faces = embed_faces(embedder(threads), SOURCE, batch_size=batch, progress=False)
        same(figures(faces), reference)


def test_the_order_of_the_pairs_changes_no_figure(faces, reference):
    order = np.random.default_rng(0).permutation(len(rows()))
    same(figures(faces, tuple(rows()[i] for i in order)), reference)


def test_the_order_of_the_folds_changes_no_figure(faces, reference):
    renamed = tuple(replace(pair, fold=(3, 0, 2, 1)[pair.fold]) for pair in rows())
    found = figures(faces, renamed)
    by_fold = [key for key in reference if "by_fold" in key]
    assert sorted(found.pop(k) for k in by_fold) == sorted(reference[k] for k in by_fold)
    same(found, {key: value for key, value in reference.items() if key not in by_fold})


def test_swapping_the_pictures_of_a_pair_changes_no_figure(faces, reference):
    same(figures(faces, tuple(replace(p, a=p.b, b=p.a) for p in rows())), reference)


def test_the_order_of_the_pairs_changes_nothing_where_only_they_say_who_is_who(faces):
    place = np.random.default_rng(2).permutation(len(faces.keys))  # people lie scattered
    blank = replace(
        faces,
        identities=(None,) * len(faces.keys),
        keys=tuple(faces.keys[i] for i in place),
        embeddings=faces.embeddings[place],
    )
    order = np.random.default_rng(1).permutation(len(rows()))
    one = numbers(evaluate_pairs(blank, PairList(rows()), fmr_targets=TARGETS))
    turned = [replace(p, a=p.b, b=p.a) if n % 3 else p for n, p in enumerate(rows())]
    mixed = PairList(tuple(turned[i] for i in order))
    same(numbers(evaluate_pairs(blank, mixed, fmr_targets=TARGETS)), one)
