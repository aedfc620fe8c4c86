"""Tiny benchmarks of noise faces, written in exactly the layouts in which they are published.

A person is a coarse colour pattern, a picture adds fine noise, so that block means tell people
apart.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from crossface.core.template import ARCFACE_POINTS_112

GROUPS = {"African": "Af", "Asian": "As", "Caucasian": "Ca", "Indian": "In"}


def face(person: object, number: int, noise: float = 25.0) -> np.ndarray:
    """(112, 112, 3) uint8 RGB."""
    seed = [ord(letter) for letter in str(person)]
    base = np.random.default_rng(seed).uniform(30, 225, (7, 7, 3))
    fine = np.random.default_rng([*seed, 1, number]).normal(0, noise, (28, 28, 3))
    big = np.kron(base, np.ones((16, 16, 1))) + np.kron(fine, np.ones((4, 4, 1)))
    return np.clip(big, 0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_ijb(root: Path, *, subset: str = "ijbc", people: int = 8) -> Path:
    """Two templates of three pictures (a video of two frames and a still) per person."""
    meta = root / "meta"
    meta.mkdir(parents=True)
    rows, marks, subjects = [], [], {}
    number, media, template = 0, 1000, 100
    for person in range(people):
        for _ in range(2):
            subjects[template] = person
            for of_media in (2, 1):
                for _ in range(of_media):
                    number += 1
                    name = f"{number}.png"
                    crop = cv2.resize(face(person, number), (224, 224))
                    save(root / "loose_crop" / name, crop)
                    points = " ".join(f"{2 * v:.4f}" for v in ARCFACE_POINTS_112.ravel())
                    rows.append(f"{name} {template} {media}")
                    marks.append(f"{name} {points} {0.9 if number % 2 else 0.5}")
                media += 1
            template += 1
    first = 100
    pairs = []
    for person in range(people):
        own = first + 2 * person
        pairs.append(f"{own} {own + 1} 1")
        pairs += [f"{own} {first + 2 * other + 1} 0" for other in range(people) if other != person]
    (meta / f"{subset}_face_tid_mid.txt").write_text("\n".join(rows) + "\n")
    (meta / f"{subset}_name_5pts_score.txt").write_text("\n".join(marks) + "\n")
    (meta / f"{subset}_template_pair_label.txt").write_text("\n".join(pairs) + "\n")
    head = "TEMPLATE_ID,SUBJECT_ID,FILENAME"
    halves = ("S1", "S2") if subset == "ijbb" else ("G1", "G2")
    for place, half in enumerate(halves):
        lines = [
            f"{t},{s},img/{n}.jpg"
            for t, s in subjects.items()
            if t % 2 == 0 and s % 2 == place
            for n in (1, 2)
        ]
        (meta / f"{subset}_1N_gallery_{half}.csv").write_text("\n".join([head, *lines]) + "\n")
    lines = [f"{t},{s},img/1.jpg" for t, s in subjects.items() if t % 2]
    (meta / f"{subset}_1N_probe_mixed.csv").write_text("\n".join([head, *lines]) + "\n")
    return root


def write_rfw(root: Path, *, people: int = 20, noise: dict[str, float] | None = None) -> Path:
    """Four groups; ten folds of one genuine and one impostor pair for two people each."""
    test = root / "test"
    for group, short in GROUPS.items():
        names = [f"m.{short}{n:02d}" for n in range(people)]
        for name in names:
            for number in (1, 2):
                crop = face(name, number, (noise or {}).get(group, 25.0))
                save(test / "data" / group / name / f"{name}_{number:04d}.png", crop)
        lines = []
        for fold in range(10):
            own = names[fold * people // 10 : (fold + 1) * people // 10]
            lines += [f"{name}\t1\t2" for name in own]
            lines += [f"{a}\t1\t{b}\t2" for a, b in zip(own, own[1:] + own[:1], strict=True)]
        place = test / "txts" / group
        place.mkdir(parents=True)
        (place / f"{group}_pairs.txt").write_text("\n".join(lines) + "\n")
    return test


def write_ytf(root: Path, *, people: int = 20, frames: int = 3) -> Path:
    """Two videos per person; ten folds."""
    for person in range(people):
        for video in range(2):
            for number in range(frames):
                name = f"aligned_detect_{video}.{555 + number}.png"
                place = root / "aligned_images_DB" / f"Ann_{person:02d}" / str(video) / name
                save(place, face(person, 10 * video + number))
    lines = ["split number, first name, second name, is same"]
    for person in range(people):
        fold, other = person * 10 // people + 1, person ^ 1
        lines.append(f"{fold}, Ann_{person:02d}/0, Ann_{person:02d}/1, 1")
        lines.append(f"{fold}, Ann_{person:02d}/0, Ann_{other:02d}/1, 0")
    (root / "splits.txt").write_text("\n".join(lines) + "\n")
    return root
