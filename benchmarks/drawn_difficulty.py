"""How hard the drawn identities are: pixel PCA always, a small CNN with --cnn; one JSON line.

Both are measured on people that training never saw, over all pairs of their pictures.

    python benchmarks/drawn_difficulty.py --cnn --width 0.25 --steps 400
"""

from __future__ import annotations

import argparse
import json
import platform
import time

import cv2
import numpy as np

from crossface.data.drawn import DrawnFaces

FMR = 1e-2


def load(source: DrawnFaces) -> tuple[np.ndarray, np.ndarray]:
    """(N, 112, 112, 3) crops and (N,) labels."""
    crops = np.stack([source.read(index) for index in range(len(source))])
    return crops, np.arange(len(source)) // source.per_identity


def tar_at_fmr(embeddings: np.ndarray, labels: np.ndarray, fmr: float = FMR) -> float:
    """Share of genuine pairs above the similarity that a share ``fmr`` of impostors reaches."""
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)
    rows, columns = np.triu_indices(len(unit), 1)
    scores = (unit @ unit.T)[rows, columns]
    same = labels[rows] == labels[columns]
    impostor = np.sort(scores[~same])[::-1]
    threshold = impostor[max(int(fmr * len(impostor)) - 1, 0)]
    return float((scores[same] > threshold).mean())


def grey64(crops: np.ndarray) -> np.ndarray:
    """(N, 4096) grey pixels at 64x64."""
    small = [cv2.resize(cv2.cvtColor(c, cv2.COLOR_RGB2GRAY), (64, 64)) for c in crops]
    return np.stack(small).reshape(len(crops), -1).astype(np.float64)


def pca_tars(train: np.ndarray, test: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """TAR of cosine on 64 and 128 principal components of grey pixels, plain and whitened."""
    a, b = grey64(train), grey64(test)
    mean = a.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((a - mean).T))
    tars = {}
    for count in (64, 128):
        axes, spread = vectors[:, ::-1][:, :count], np.sqrt(values[::-1][:count])
        coordinates = (b - mean) @ axes
        tars[f"pca{count}"] = round(tar_at_fmr(coordinates, labels), 4)
        tars[f"pca{count}_white"] = round(tar_at_fmr(coordinates / spread, labels), 4)
    return tars


def train_cnn(crops: np.ndarray, labels: np.ndarray, options: argparse.Namespace):
    """A MobileFaceNet trained alone with CosFace, and its last loss."""
    import torch
    from torch.nn import functional

    from crossface.nets import create_model

    torch.manual_seed(0)
    net = create_model("mobilefacenet", width=options.width, embedding_dim=128)
    centres = torch.nn.Parameter(0.05 * torch.randn(int(labels.max()) + 1, 128))
    groups = [{"params": [*net.parameters(), centres], "weight_decay": 5e-4}]
    optimiser = torch.optim.SGD(groups, lr=options.lr, momentum=0.9, nesterov=True)
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=options.lr, total_steps=options.steps, pct_start=0.15
    )
    rng, loss = np.random.default_rng(0), torch.zeros(())
    order: list[int] = []
    net.train()
    for _ in range(options.steps):
        if len(order) < options.batch:
            order = list(rng.permutation(len(crops)))
        rows = [order.pop() for _ in range(options.batch)]
        x = to_input(crops[rows], grey=options.grey)
        flips = torch.from_numpy(rng.random(len(rows)) < 0.5)
        x[flips] = x[flips].flip(3)
        y = torch.from_numpy(labels[rows])
        cosine = functional.normalize(net(x)) @ functional.normalize(centres).T
        margin = options.margin * functional.one_hot(y, cosine.shape[1])
        loss = functional.cross_entropy(options.scale * (cosine - margin), y)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        plan.step()
    return net, float(loss.detach())


def to_input(crops: np.ndarray, *, grey: bool):
    """(B, 3, 112, 112) float in [-1, 1]."""
    import torch

    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)
    return x.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1).clone() if grey else x


def embed(net, crops: np.ndarray, *, grey: bool) -> np.ndarray:
    """(N, D): pictures and their mirrors, summed."""
    import torch

    net.eval()
    with torch.inference_mode():
        parts = [to_input(crops[i : i + 64], grey=grey) for i in range(0, len(crops), 64)]
        return torch.cat([net(x) + net(x.flip(3)) for x in parts]).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train-ids", type=int, default=400)
    parser.add_argument("--per-id", type=int, default=12)
    parser.add_argument("--test-ids", type=int, default=120)
    parser.add_argument("--test-per-id", type=int, default=8)
    parser.add_argument("--nuisance", type=float, default=1.0)
    parser.add_argument("--cnn", action="store_true", help="also train a small CNN alone")
    parser.add_argument("--grey", action="store_true", help="the CNN sees grey pictures")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--margin", type=float, default=0.2)
    parser.add_argument("--scale", type=float, default=24.0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    shown = DrawnFaces(
        identities=options.train_ids, per_identity=options.per_id, nuisance=options.nuisance
    )
    held_out = DrawnFaces(
        identities=options.test_ids,
        per_identity=options.test_per_id,
        nuisance=options.nuisance,
        first_identity=options.train_ids,
    )
    start = time.process_time()
    (train, train_labels), (test, test_labels) = load(shown), load(held_out)
    drawn = len(train) + len(test)
    result = {
        "benchmark": "drawn_difficulty",
        "fmr": FMR,
        "train": shown.name,
        "test": held_out.name,
        "pictures_per_cpu_s": round(drawn / (time.process_time() - start), 1),
        **pca_tars(train, test, test_labels),
        "machine": platform.machine(),
    }
    if options.cnn:
        start = time.process_time()
        net, loss = train_cnn(train, train_labels, options)
        result |= {
            "cnn_width": options.width,
            "cnn_steps": options.steps,
            "cnn_grey": options.grey,
            "cnn_last_loss": round(loss, 3),
            "cnn_tar": round(tar_at_fmr(embed(net, test, grey=options.grey), test_labels), 4),
            "cnn_cpu_s": round(time.process_time() - start, 1),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
