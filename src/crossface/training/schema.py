"""The schema of a run: what its tables may say, and by default do."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossface.data.augment import AugmentConfig
from crossface.training.defaults import DISTILLER, HEAD, METRIC, STUDENT

Options = dict[str, bool | int | float | str | None]


class Section(BaseModel):
    """A table of a configuration: no unknown key, no value of another type."""

    # Strict: "3" is no number and true is no count. TOML has types of its own.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NetConfig(Section):
    """A network by name with its own options (``crossface.list_models()``).

    Attributes:
        weights: a safetensors model of the same name and options whose weights the run starts
            from; by default it starts from nothing. Only the weights are taken: the optimiser and
            the schedule begin anew, unlike with ``--resume``.
        widen: the weights may be of a narrower network (``nets.widen``): the run starts with its
            embedding, and channels to spare.
    """

    name: str = STUDENT
    options: Options = Field(default_factory=dict)
    weights: str | None = None
    widen: bool = False


class DataConfig(Section):
    """The training pictures: aligned 112x112 crops.

    Attributes:
        path: a directory, a zip, a ``.rec`` or ``drawn:ids=..,per_id=..,seed=..``.
        labels: "auto" reads identities where the layout has them, "none" ignores them.
        exclude: a text file with the key of a picture on each line ("train/17"); these pictures
            take no part, neither in training nor in validation: people of the sets that judge
            (``benchmarks/leakage.py`` writes such a file). "#" begins a comment.
        limit: use only so many pictures, chosen by a hash of their names.
        holdout: pictures (unlabelled) or identities (labelled) kept for validation.
        holdout_seed: which ones; not the run's seed, so that runs compare.
        augment: a preset name, or a table of the augmentation's own fields.
        memory: "auto" keeps decoded pictures in memory when they fit in 4 GiB; "shared" keeps them
            in a file of the cache that several runs map into memory, so they are decoded once.
        pseudo_identities: cluster the teacher's embeddings of an unlabelled set into so many
            classes, for distillers that need identities.
        per_identity: pictures of one identity that come together, so that a batch holds pairs
            (triplets, UNPG); 1 shuffles picture by picture.
    """

    path: str
    labels: Literal["auto", "none"] = "auto"
    exclude: str | None = None
    limit: int | None = Field(default=None, gt=0)
    holdout: int = Field(default=0, ge=0)
    holdout_seed: int = 0
    augment: str | AugmentConfig = "light"
    memory: Literal["auto", "always", "never", "shared"] = "auto"
    pseudo_identities: int | None = Field(default=None, ge=2)
    per_identity: int = Field(default=1, ge=1)


class TeacherConfig(Section):
    """Who is learnt from.

    Attributes:
        path: an ONNX file (black box) or a safetensors model of ours; its embedding is the target.
        features: a safetensors model of ours whose pixel features are used as well (CADFR);
            by default ``path`` itself where that is one of ours.
        input_spec: preset or JSON file for an ONNX file that does not say what it wants.
        view: "clean" regresses to the cached embedding of the undisturbed crop; "same" lets the
            teacher see the very crop the student sees (function matching, arXiv:2106.05237).
        views: with view = "same", how many differently augmented rounds are embedded before they
            are reused; 0 embeds afresh in every epoch.
        others: further teachers, ONNX files or models of ours, each in a space of its own, for
            distillers that take several (concentration); the file must say what input it wants.
        runtime: what runs ONNX files, "onnxruntime" or "openvino" (an extra). Some graphs are
            several times faster on one of them; the embeddings are the same up to rounding.
        mix: with view = "same", the share of pictures that another one is laid over, for student
            and teacher alike; function matching's paper mixes all (1.0).
    """

    path: str
    features: str | None = None
    input_spec: str | None = None
    view: Literal["clean", "same"] = "clean"
    views: int = Field(default=0, ge=0)
    mix: float = Field(default=0.0, ge=0, le=1)
    others: list[str] = Field(default_factory=list)
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"

    @model_validator(mode="after")
    def _mixed_crops_need_the_same_view(self) -> Self:
        if self.mix and self.view != "same":
            raise ValueError(
                'mix needs view = "same": no embedding of a clean crop fits a mixed one'
            )
        return self


class MethodConfig(Section):
    """The distiller by name with its own options."""

    name: str = DISTILLER
    options: Options = Field(default_factory=dict)


class HeadConfig(Section):
    """The margin head by name with its own options."""

    name: str = HEAD
    options: Options = Field(default_factory=dict)


class MetricConfig(Section):
    """A loss over embeddings and identities, beside the head or in its place ("triplet")."""

    name: str = METRIC
    weight: float = Field(default=1.0, gt=0)
    options: Options = Field(default_factory=dict)


class CollaborativeConfig(Section):
    """Students that learn together (NCL++), in place of a head.

    Attributes:
        students: how many networks of [student] train; the first is kept.
        copies: 2 shows each picture and its mirror image.
        scale: of the cosines.
        hard_classes, agreement_weight, zero_outside: see ``losses.ncl``.
    """

    students: int = Field(default=2, ge=2, le=3)
    copies: int = Field(default=1, ge=1, le=2)
    scale: float = Field(default=32.0, gt=0)
    hard_classes: int = Field(default=30, ge=1)
    agreement_weight: float = Field(default=0.6, ge=0)
    zero_outside: bool = False


class OptimConfig(Section):
    """The optimiser. ``lr`` is the peak of warm-up and cosine.

    "muon" steps matrices and 1x1 convolutions by Muon and everything else by AdamW.
    ``sharpness`` gives any of them the gradient of SAM or SAGM, radius ``rho``, at two passes a
    step; ``alpha`` is SAGM's.
    """

    name: Literal["sgd", "adamw", "muon"] = "adamw"
    lr: float = Field(default=2e-3, gt=0, le=1e6)
    weight_decay: float = Field(default=0.05, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    final_fraction: float = Field(default=0.01, ge=0, le=1)
    clip_norm: float | None = Field(default=5.0, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    sharpness: Literal["sam", "sagm"] | None = None
    rho: float = Field(default=0.05, gt=0)
    alpha: float = Field(default=1e-3, ge=0)


class BudgetConfig(Section):
    """How long: exactly one of steps, epochs, minutes. Only steps and epochs are reproducible."""

    steps: int | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    minutes: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [k for k in ("steps", "epochs", "minutes") if getattr(self, k) is not None]
        if len(given) != 1:
            came = " and ".join(given) or "none"
            raise ValueError(f"exactly one of steps, epochs, minutes is needed, got {came}")
        return self


class RunConfig(Section):
    """Everything that decides a run."""

    data: DataConfig
    student: NetConfig = NetConfig()
    teacher: TeacherConfig | None = None
    distiller: MethodConfig | None = None
    head: HeadConfig | None = None
    metric: MetricConfig | None = None
    collaborative: CollaborativeConfig | None = None
    optim: OptimConfig = OptimConfig()
    budget: BudgetConfig = BudgetConfig(epochs=1)
    batch_size: int = Field(default=128, gt=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: str = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    threads: int | None = Field(default=None, gt=0)
    compile: bool | Literal["auto"] = "auto"
    log_every_steps: int = Field(default=50, gt=0)
    validate_every_steps: int | None = Field(default=None, gt=0)
    checkpoint_every_steps: int = Field(default=500, gt=0)

    @model_validator(mode="after")
    def _teacher_and_distiller(self) -> Self:
        if (self.teacher is None) != (self.distiller is None):
            raise ValueError("teacher and distiller belong together: give both or neither")
        supervised = self.head is not None or self.metric is not None
        if self.collaborative is not None and (supervised or self.teacher is not None):
            raise ValueError("[collaborative] goes without a teacher, a [head] and a [metric]")
        if self.teacher is None and not supervised and self.collaborative is None:
            raise ValueError("a run without a teacher needs a [head] (cosface, say) or a [metric]")
        if self.teacher is not None and self.metric is not None:
            raise ValueError("[metric] is for a run without a teacher")
        if self.teacher is None and self.data.pseudo_identities is not None:
            raise ValueError("data.pseudo_identities come from a teacher, and there is none")
        return self
