"""Changes to an exported graph that leave its numbers and make it run faster."""

from __future__ import annotations

from typing import Any


def replace_prelu(proto: Any) -> int:  # noqa: ANN401  # onnx has no types
    """Write ``PRelu(x)`` as ``slope * x + (1 - slope) * Relu(x)``, in place.

    onnxruntime 1.32 runs a per-channel PRelu on the CPU number by number: it took 8 of the 10 ms
    of a MobileFaceNet of width 0.5. The operators it is replaced by are vectorised. The same
    numbers come out for every slope, up to the last rounding.

    Args:
        proto: an ONNX model; PRelu nodes whose slope is not a stored constant stay.

    Returns:
        How many nodes were replaced.
    """
    from onnx import helper, numpy_helper

    graph = proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[Any] = []
    replaced = 0
    for node in graph.node:
        if node.op_type != "PRelu" or node.input[1] not in constants:
            nodes.append(node)
            continue
        replaced += 1
        (x, slope), (out,) = node.input, node.output
        rest, positive, left, right = (f"{out}_{part}" for part in ("rest", "pos", "all", "extra"))
        values = numpy_helper.to_array(constants[slope])
        graph.initializer.append(numpy_helper.from_array(1 - values, rest))
        nodes += [
            helper.make_node("Mul", [x, slope], [left]),
            helper.make_node("Relu", [x], [positive]),
            helper.make_node("Mul", [positive, rest], [right]),
            helper.make_node("Add", [left, right], [out]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    return replaced
