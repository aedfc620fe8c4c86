"""How large the demo is: people, pictures, steps. Budgets are steps, so numbers repeat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossface.data.drawn import DrawnFaces
from crossface.training.config import parse_config
from crossface.training.schema import RunConfig

STUDENTS = ("student_alone", "student_embedding", "student_cadfr")
MODELS = ("teacher", *STUDENTS)
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Sizes of the demo.

    Attributes:
        teacher_identities: people the teacher learns; the first of them are the students'.
        student_identities: people whose pictures every student sees.
        test_identities: people nobody trains on; they come after the teacher's.
        holdout_identities: of the students' people, kept apart for the validation curves.
        per_identity: pictures of each person.
        nuisance: strength of pose, light, expression and damage.
        teacher_steps: optimiser steps of the teacher.
        student_steps: optimiser steps of every student.
        batch_size: pictures in a step.
        width: of the students' MobileFaceNet.
        embedding_dim: of the teacher and all students.
        threads: of the processor; fixed, because sums in another order are other numbers.
        validations: points of a validation curve.
        must_win: stop unless the teacher beats the CNN alone beyond its interval.
    """

    teacher_identities: int = 800
    student_identities: int = 400
    test_identities: int = 200
    holdout_identities: int = 40
    per_identity: int = 6
    nuisance: float = 0.8
    teacher_steps: int = 400
    student_steps: int = 120
    batch_size: int = 64
    width: float = 0.25
    embedding_dim: int = 128
    threads: int = 2
    validations: int = 6
    must_win: bool = True

    def teacher_faces(self, seed: int) -> DrawnFaces:
        """Everybody the teacher learns."""
        return DrawnFaces(
            identities=self.teacher_identities,
            per_identity=self.per_identity,
            seed=seed,
            nuisance=self.nuisance,
        )

    def test_faces(self, seed: int) -> DrawnFaces:
        """People no network has seen."""
        return DrawnFaces(
            identities=self.test_identities,
            per_identity=self.per_identity,
            seed=seed,
            nuisance=self.nuisance,
            first_identity=self.teacher_identities,
        )

    @property
    def people(self) -> int:
        """Everybody who is drawn."""
        return self.teacher_identities + self.test_identities

    @property
    def pictures(self) -> int:
        """All pictures that are drawn."""
        return self.people * self.per_identity

    def configs(self, out: Path, seed: int) -> dict[str, RunConfig]:
        """The run of every model, in the order in which they are trained."""
        tables = {
            "teacher": self._teacher(out),
            "student_alone": self._alone(),
            "student_embedding": self._taught(out, {"name": "embedding"}),
            "student_cadfr": self._taught(out, {"name": "cadfr", "options": dict(_CADFR)}),
        }
        configs = {}
        for name, table in tables.items():
            data = "teacher" if name == "teacher" else "students"
            shared = self._shared(out / "faces" / f"{data}.zip", table["budget"]["steps"], seed)
            configs[name] = parse_config(shared | table, source=f"the demo's {name}")
        return configs

    def _shared(self, faces: Path, steps: int, seed: int) -> Table:
        return {
            "data": {
                "path": str(faces),
                "augment": "flip",
                "holdout": self.holdout_identities,
            },
            "batch_size": self.batch_size,
            "seed": seed,
            "threads": self.threads,
            "compile": False,  # a minute of compiling would not come back in runs this short
            "log_every_steps": max(1, steps // 30),
            "validate_every_steps": max(1, steps // self.validations),
            "checkpoint_every_steps": steps,
        }

    def _teacher(self, out: Path) -> Table:
        del out
        return {
            "student": {"name": "swin_micro", "options": {"embedding_dim": self.embedding_dim}},
            "head": {"name": "cosface", "options": {"scale": 24.0, "margin": 0.15}},
            "optim": dict(_TEACHER_OPTIM),
            "budget": {"steps": self.teacher_steps},
        }

    def _alone(self) -> Table:
        return {
            "student": self._student(),
            "head": {"name": "cosface", "options": dict(_HEAD)},
            "optim": dict(_ALONE_OPTIM),
            "budget": {"steps": self.student_steps},
        }

    def _taught(self, out: Path, distiller: Table) -> Table:
        return {
            "student": self._student(),
            "teacher": {"path": str(out / "teacher" / "student.safetensors")},
            "distiller": distiller,
            "optim": dict(_TAUGHT_OPTIM),
            "budget": {"steps": self.student_steps},
        }

    def _student(self) -> Table:
        return {
            "name": "mobilefacenet",
            "options": {"width": self.width, "embedding_dim": self.embedding_dim},
        }


_TEACHER_OPTIM = {
    "lr": 2.5e-3,
    "weight_decay": 0.05,
    "warmup_fraction": 0.15,
    "clip_norm": 2.0,
    "ema_decay": 0.98,
}

# No straw man: seven settings of the CNN alone (SGD and AdamW, rates, margins, scales) were tried
# for these steps; the best AUC of held-out people of its own pictures decided, not the test people.
_HEAD = {"scale": 24.0, "margin": 0.1}
_ALONE_OPTIM = {"lr": 1e-2, "weight_decay": 0.05, "warmup_fraction": 0.15, "ema_decay": 0.95}
_TAUGHT_OPTIM = {"lr": 1e-2, "weight_decay": 0.05, "warmup_fraction": 0.15, "ema_decay": 0.95}
# A quarter of the published widths: two cores, five minutes.
_CADFR = {"dim": 128, "centres": 25, "heads": 4, "prompts": 4}
