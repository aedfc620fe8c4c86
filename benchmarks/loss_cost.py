"""What one step of each method's loss costs, against the work that PyTorch is asked for.

Forward and backward of the shipped distillers at B = 128, C = 85,742 classes and D = 512, over a
student that costs nothing, on the CPU. The work is counted operation by operation while a step
runs: the multiplications of matrix products, and the bytes that every operation reads and writes.
The machine's rates (a product of the classifier's size, a pass over a B x C array) are measured in
the same process, so that ``seconds / expected_seconds`` says whether anything beyond arithmetic is
paid for: sorting and choosing the largest, which are no products and no passes, show there. Seconds
are of the process's cores. ``peak_arrays`` is the memory of a step in B x C arrays of float32.
Published forms of GKD and RKD are measured beside ours and must give the same number. Prints one
JSON line.

    python benchmarks/loss_cost.py [--only gkd rkd] [--threads 1] [--json result.json]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from crossface.core.files import write_json
from crossface.losses.margin import CosFace
from crossface.losses.relations import rkd_angle, rkd_distance
from crossface.training.distillers import DISTILLERS
from crossface.training.distillers.base import Context, Signals
from crossface.training.memory import keep_freed_memory
from crossface.training.run import environment

BATCH, CLASSES, DIM = 128, 85_742, 512
REPEATS = 3

Step = Callable[[], Tensor]


class Free(nn.Module):
    """A student whose embedding is its input."""

    embedding_dim = DIM
    feature_dim = DIM

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale

    forward_both = forward


class FreeStages(Free):
    """A student of three poolings: maps of 28, 14 and 7 cells a side, and next to no work."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.AvgPool2d(4), nn.AvgPool2d(2), nn.AvgPool2d(2))
        self.project = nn.Linear(3 * 49, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.blocks(x).flatten(1))


def distiller(name: str, *, student: type[Free] = Free, **options: object) -> Step:
    """Forward and backward of a shipped distiller; gives its loss."""
    torch.manual_seed(0)
    context = Context(
        student=student(),
        target_dim=DIM,
        classes=CLASSES,
        class_centres=F.normalize(torch.randn(CLASSES, DIM)),
        other_dims=(DIM, 256),
    )
    objective = DISTILLERS.resolve(name)(context, **options).train()
    objective.progress = 1.0
    images = torch.randn(BATCH, DIM) if student is Free else torch.randn(BATCH, 3, 112, 112)
    others = tuple(F.normalize(torch.randn(BATCH, dim)) for dim in context.other_dims)
    targets = F.normalize(torch.randn(BATCH, DIM))
    signals = Signals(images, targets, torch.randint(0, CLASSES, (BATCH,)), others)

    def step() -> Tensor:
        loss = objective(signals)["loss"]
        loss.backward()
        objective.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def cross_entropy() -> Step:
    """The least that a method with identities pays: one CosFace head."""
    torch.manual_seed(0)
    head = CosFace(CLASSES, DIM)
    x = torch.randn(BATCH, DIM, requires_grad=True)
    labels = torch.randint(0, CLASSES, (BATCH,))

    def step() -> Tensor:
        loss = F.cross_entropy(head(x, labels), labels)
        loss.backward()
        head.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def between_logits(compare: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Step:
    """A loss of two (B, C) logits alone, without the heads."""
    torch.manual_seed(0)
    student = (4 * torch.randn(BATCH, CLASSES)).requires_grad_()
    teacher = 4 * torch.randn(BATCH, CLASSES)
    labels = torch.randint(0, CLASSES, (BATCH,))

    def step() -> Tensor:
        loss = compare(student, teacher, labels)
        loss.backward()
        student.grad = None
        return loss.detach()

    return step


def our_gkd(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """By top-k and logsumexp."""
    from crossface.losses.gkd import GroupedDistillation

    return GroupedDistillation(group=10_000)(student, teacher, labels)


def published_gkd(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """As the authors' recipe: sort all classes, a mask, 1000 off the logits outside it."""
    chosen = student.detach().clone()
    chosen[torch.arange(BATCH), labels] = 999_999
    order = chosen.sort(dim=1, descending=True).indices[:, :10_000]
    mask = torch.zeros_like(student).scatter_(1, order, 1.0)
    p, q = F.softmax(teacher / 4, 1), F.softmax(student / 4, 1)
    bins = [torch.stack([(x * mask).sum(1), (x * (1 - mask)).sum(1)], 1) for x in (p, q)]
    binary = F.kl_div(bins[1].log(), bins[0], reduction="sum")
    outside = 1000.0 * (1 - mask)
    inner = F.kl_div(
        F.log_softmax(student / 4 - outside, 1),
        F.softmax(teacher / 4 - outside, 1),
        reduction="sum",
    )
    return 16 * (binary + 8.0 * inner) / BATCH


def between_embeddings(compare: Callable[[Tensor, Tensor], Tensor]) -> Step:
    """A loss of two (B, D) embeddings alone."""
    torch.manual_seed(0)
    student = torch.randn(BATCH, DIM, requires_grad=True)
    teacher = F.normalize(torch.randn(BATCH, DIM))

    def step() -> Tensor:
        loss = compare(student, teacher)
        loss.backward()
        student.grad = None
        return loss.detach()

    return step


def our_rkd(student: Tensor, teacher: Tensor) -> Tensor:
    """From the Gram matrix, a few vertices at a time."""
    return 25 * rkd_distance(student, teacher) + 50 * rkd_angle(student, teacher)


def published_rkd(student: Tensor, teacher: Tensor) -> Tensor:
    """With all B x B differences and all B x B x B angles at once."""
    sides = [
        torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") for x in (student, teacher)
    ]
    sides = [d / d[d > 0].mean() for d in sides]
    units = [F.normalize(x[None] - x[:, None], dim=2) for x in (student, teacher)]
    angles = [torch.bmm(u, u.transpose(1, 2)) for u in units]
    return 25 * F.smooth_l1_loss(*sides) + 50 * F.smooth_l1_loss(*angles)


CASES: dict[str, Callable[[], Step]] = {
    "cross_entropy": cross_entropy,
    "proxyless": lambda: distiller("proxyless"),
    "adadistill": lambda: distiller("adadistill"),
    "kd": lambda: distiller("kd"),
    "dkd": lambda: distiller("dkd"),
    "gkd": lambda: distiller("gkd", group=10_000),
    "gkd_adaptive": lambda: distiller("gkd", group="adaptive"),
    "ofa_logits": lambda: distiller("ofa", student=FreeStages, space="logits"),
    "gkd_loss": lambda: between_logits(our_gkd),
    "gkd_loss_published": lambda: between_logits(published_gkd),
    "rkd_loss": lambda: between_embeddings(our_rkd),
    "rkd_loss_published": lambda: between_embeddings(published_rkd),
    "sp": lambda: distiller("sp"),
    "ekd": lambda: distiller("ekd"),
    "iled_rpsd": lambda: distiller("iled_rpsd"),
    "concentration": lambda: distiller("concentration"),
}
SAME_NUMBER = (("gkd_loss", "gkd_loss_published"), ("rkd_loss", "rkd_loss_published"))


class BytesMoved(TorchDispatchMode):
    """Bytes that operations read and write, views not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            flat, _ = torch.utils._pytree.tree_flatten((args, kwargs or {}, out))
            self.total += sum(x.numel() * x.element_size() for x in flat if isinstance(x, Tensor))
        return out


def machine_rates() -> tuple[float, float]:
    """Multiply-adds x 2 per second of the classifier's product; bytes per second of a pass."""
    a, b = torch.randn(BATCH, DIM), torch.randn(CLASSES, DIM)
    flops = 2 * BATCH * CLASSES * DIM / median_seconds(lambda: a @ b.T)
    x, out = torch.randn(BATCH, CLASSES), torch.empty(BATCH, CLASSES)
    return flops, 2 * x.numel() * 4 / median_seconds(lambda: torch.mul(x, 2.0, out=out))


def median_seconds(action: Callable[[], object]) -> float:
    """Of this process's cores: what else runs on the machine counts less."""
    action()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        action()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def peak_bytes(step: Step) -> int:
    """Highest resident memory during the second step, above what was resident before it."""
    step()  # libraries load what they need
    ctypes.CDLL(None).malloc_trim(0)
    before = _status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        step()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    step()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(name)


def measure(name: str, threads: int) -> dict[str, float]:
    """One case, in this process."""
    torch.set_num_threads(threads)
    step = CASES[name]()
    peak = peak_bytes(step)
    keep_freed_memory()  # as training does
    flops_per_s, bytes_per_s = machine_rates()
    with FlopCounterMode(display=False) as flops, BytesMoved() as moved:
        loss = step()
    seconds = median_seconds(step)
    in_products = flops.get_total_flops() / flops_per_s
    in_passes = moved.total / bytes_per_s
    return {
        "seconds": round(seconds, 4),
        "expected_seconds": round(in_products + in_passes, 4),
        "ratio": round(seconds / (in_products + in_passes), 2),
        "gflop": round(flops.get_total_flops() / 1e9, 2),
        "gbyte": round(moved.total / 1e9, 3),
        "peak_mb": round(peak / 1e6, 1),
        "peak_arrays": round(peak / (4 * BATCH * CLASSES), 2),
        "loss": float(loss),
        "gflop_per_s": round(flops_per_s / 1e9, 1),
        "gbyte_per_s": round(bytes_per_s / 1e9, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=list(CASES), help="measure one case in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.threads)))
        return
    cases = {}
    for name in options.only:  # a process each: what one leaves in memory is no other's
        command = [sys.executable, __file__, "--one", name, "--threads", str(options.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cases[name] = json.loads(done.stdout)
        print(name, cases[name], file=sys.stderr)
    for ours, published in SAME_NUMBER:
        if ours in cases and published in cases:
            a, b = cases[ours]["loss"], cases[published]["loss"]
            assert abs(a - b) <= 1e-3 * abs(b), (ours, a, b)
    result = {
        "experiment": "loss_cost",
        "batch": BATCH,
        "classes": CLASSES,
        "dim": DIM,
        "threads": options.threads,
        "cases": cases,
        **environment(),
    }
    if options.json:
        write_json(options.json, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
