"""Tiny teachers, students and face sets for the train room; everything is drawn or seeded."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch
from safetensors import safe_open

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import ImageError
from crossface.nets import create_model
from crossface.nets.checkpoint import save_model
from crossface.training.config import parse_config
from crossface.training.run import RunFolder
from crossface.training.setup import prepare
from face_files import pattern, write_folder

DIM = 16
ARCFACE = InputSpec()
BATCH = 8


class PatternFaces:
    """A FaceSource of smooth patterns: ``people`` looks, ``each`` noisy pictures of every one."""

    name = "patterns"

    def __init__(self, people=6, each=4, *, labelled=True, broken=()):
        self.people, self.each = people, each
        self.labelled, self.broken = labelled, set(broken)
        self.reads = 0

    def __len__(self):
        return self.people * self.each

    def key(self, index):
        return f"{index // self.each:03d}/{index % self.each:03d}"

    def identity(self, index):
        return f"{index // self.each:03d}" if self.labelled else None

    def read(self, index):
        self.reads += 1
        if index in self.broken:
            raise ImageError(f"{self.key(index)}: broken or truncated image: planted")
        noise = np.random.default_rng(index).integers(-20, 21, (112, 112, 3))
        return np.clip(pattern(index // self.each) + noise, 0, 255).astype(np.uint8)

    def digest(self):
        return hashlib.sha256(f"{self.people}/{self.each}".encode()).hexdigest()


class MeanColours:
    """An embedder without weights: coarse mean colours of the crop, so a mirror is another vector.

    ``calls`` counts crops; ``fail_at`` raises when that many were embedded, as a crash would.
    """

    def __init__(self, spec=ARCFACE, *, salt="a", fail_at=None, dim=12):
        self.input_spec = spec
        self.salt, self.fail_at, self.calls = salt, fail_at, 0
        self.contract = EmbeddingContract(
            model_id="mean_colours",
            digest=hashlib.sha256(salt.encode()).hexdigest(),
            dim=dim,
            space_id=f"mean_colours:{salt}",
            input_digest=spec.digest,
        )

    def embed(self, crops):
        self.calls += len(crops)
        if self.fail_at is not None and self.calls > self.fail_at:
            raise KeyboardInterrupt
        height, width = self.input_spec.size_hw
        assert crops.shape[1:] == (height, width, 3)
        assert crops.dtype == np.uint8
        quarters = crops.reshape(len(crops), 2, height // 2, 2, width // 2, 3).mean(axis=(2, 4))
        return (quarters.reshape(len(crops), -1) - 100).astype(np.float32)


class GivenEmbedding(torch.nn.Module):
    """A student whose embedding is its input, (B, dim) in the place of pictures."""

    def __init__(self, dim):
        super().__init__()
        self.embedding_dim = dim
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.scale

    forward_both = forward


def teacher_file(path, name="swin_micro", *, seed=7, space_id=None, spec=ARCFACE, **options):
    """A seeded net of ours saved as a teacher; its batch norms have seen patterns."""
    torch.manual_seed(seed)
    net = create_model(name, embedding_dim=DIM, **options)
    with torch.no_grad():
        net.train()
        for start in (0, 8):
            crops = np.stack([pattern(start + n) for n in range(8)])
            net(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1)
    save_model(net.eval(), path, contract=None, input_spec=spec, training={}, space_id=space_id)
    return path


def people_folder(path, people=6, each=4):
    """A folder per identity with noisy patterns, as PNG."""
    from face_files import encode

    faces = PatternFaces(people, each)
    members = {f"{faces.key(n)}.png": encode(faces.read(n)) for n in range(len(faces))}
    return write_folder(path, members)


def run_tables(folder, **changes):
    """Nested tables of a small run: width-0.1 student, batch 8, no validation, one log line."""
    tables = {
        "data": {"path": str(folder), "augment": "light"},
        "student": {"name": "mobilefacenet", "options": {"width": 0.1, "last_channels": 64}},
        "optim": {"lr": 1e-3},
        "budget": {"steps": 6},
        "batch_size": BATCH,
        "threads": 1,
        "compile": False,
        "log_every_steps": 2,
        "checkpoint_every_steps": 2,
        "seed": 3,
    }
    for key, value in changes.items():
        old = tables.get(key)
        merge = isinstance(value, dict) and isinstance(old, dict) and key != "budget"
        tables[key] = {**old, **value} if merge else value
    return tables


def run_config(folder, **changes):
    return parse_config(run_tables(folder, **changes), source="test")


def supervised(folder, **changes):
    own = {"embedding_dim": DIM, "width": 0.1, "last_channels": 64}
    student = {"name": "mobilefacenet", "options": own}
    head = {"name": "cosface", "options": {"scale": 16.0, "margin": 0.1}}
    return run_config(folder, **{"student": student, "head": head, **changes})


def distilled(folder, teacher_path, name="embedding", options=None, **changes):
    table = {"path": str(teacher_path), **changes.pop("teacher", {})}
    distiller = {"name": name, "options": options or {}}
    return run_config(folder, teacher=table, distiller=distiller, **changes)


SMALL_CADFR = {"dim": 16, "heads": 2, "centres": 9, "prompts": 2}


def session(config, tmp_path):
    return prepare(config, RunFolder(tmp_path / "unused"), show_progress=False)


def tensors_of(path):
    with safe_open(path, framework="pt") as handle:
        return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118


def metadata_of(path):
    with safe_open(path, framework="pt") as handle:
        return handle.metadata()


def assert_same_tensors(first, second):
    a, b = tensors_of(first), tensors_of(second)
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


def contract_of(path):
    return json.loads(metadata_of(path)["contract"])
