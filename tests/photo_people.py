"""Photographs of people made of colour, and tiny networks that tell them apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossface.core.contract import EmbeddingContract, InputSpec
from face_files import encode, pattern
from pipeline.onnx_files import embedder, one_face

COLOURS = {"ann": (120, 0, 0), "bob": (0, 120, 0), "cy": (0, 0, 120)}
"""Two pictures of one colour have cosines of .9 and more, of two colours of .55 and less."""

MIN_QUALITY = "0.05"
"""A smooth picture has little contrast, so its quality is about .15."""


def photo(person: str, number: int = 0) -> np.ndarray:
    """(64, 64, 3) uint8: the face that ``one_face`` sees belongs to this person."""
    return (pattern(number, (64, 64)) * 0.5 + np.array(COLOURS[person])).astype(np.uint8)


def photos(folder: Path, people: dict[str, int]) -> Path:
    """A folder of each person with so many photographs."""
    for person, count in people.items():
        (folder / person).mkdir(parents=True)
        for number in range(count):
            (folder / person / f"{number}.png").write_bytes(encode(photo(person, number)))
    return folder


def networks(folder: Path, *, faces: int = 1) -> list[str]:
    """Options that name a recogniser and a detector made in this folder."""
    recogniser(folder / "m.onnx")
    one_face(folder / "d.onnx", faces=faces)
    return ["--model", str(folder / "m.onnx"), "--detector", str(folder / "d.onnx")]


def recogniser(path: Path, *, space: str | None = None, name: str = "m", bias: float = 0.0) -> Path:
    """A recogniser; those of one ``space`` may be compared."""
    spec = InputSpec()
    props = {"crossface.input_spec": spec.model_dump_json()}
    if space is not None:
        contract = EmbeddingContract(
            model_id=name,
            digest=f"{name:0<16}",
            dim=16,
            space_id=space,
            input_digest=spec.digest,
        )
        props["crossface.contract"] = contract.model_dump_json()
    return embedder(path, dim=16, bias=bias, props=props)
