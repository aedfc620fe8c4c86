"""The one error family.

CrossfaceError                 exit code  meaning
├── UsageError                 2          a command or call that cannot be meant
│   ├── ConfigError            2          a configuration that does not fit the schema
│   ├── UnknownName            2          a name no table holds
│   └── MissingExtra           2          an optional dependency is not installed
├── NoFaceFound                3          an image without a usable face
├── InputError                 4          bytes from outside that cannot be used
│   ├── ImageError             4          an image file
│   ├── DataError              4          a dataset, archive, pair list or record file
│   ├── WeightsError           4          a model file
│   └── GalleryError           4          a gallery file
├── ContractMismatch           5          two things made by different models or alignments
├── ParityError                5          an export that differs from what it replaces
├── TrainingStopped            6          a run that cannot go on (not a number, no progress)
└── Interrupted                130        stopped by a signal after saving

Every message is one sentence that names the thing, what was expected and what came.
"""

from __future__ import annotations


class CrossfaceError(Exception):
    """Base of everything crossface raises on purpose."""

    exit_code: int = 4
    code: str = "error"


class UsageError(CrossfaceError):
    """A command or call that cannot be meant."""

    exit_code = 2
    code = "usage"


class ConfigError(UsageError):
    """A configuration file or ``--set`` that does not fit the schema."""

    code = "config"


class UnknownName(UsageError):
    """A name that no table holds."""

    code = "unknown_name"


class MissingExtra(UsageError):
    """An optional dependency that is not installed."""

    code = "missing_extra"

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; this needs it: pip install 'crossface[{extra}]'"
        )


class NoFaceFound(CrossfaceError):
    """An image without a usable face."""

    exit_code = 3
    code = "no_face"


class InputError(CrossfaceError):
    """Bytes from outside that cannot be used."""

    exit_code = 4
    code = "bad_input"


class ImageError(InputError):
    """An image that cannot be decoded within the limits."""

    code = "bad_image"


class DataError(InputError):
    """A dataset, archive, pair list or record file that cannot be read."""

    code = "bad_data"


class WeightsError(InputError):
    """A model file that cannot be read or does not say what it needs."""

    code = "bad_weights"


class GalleryError(InputError):
    """A gallery that cannot be read or refuses an operation."""

    code = "bad_gallery"


class ContractMismatch(CrossfaceError):
    """Two things made by different models, spaces or alignments."""

    exit_code = 5
    code = "contract_mismatch"


class ParityError(CrossfaceError):
    """An export that differs from what it replaces."""

    exit_code = 5
    code = "parity"


class TrainingStopped(CrossfaceError):
    """A run that cannot go on: a loss that is not a number, say."""

    exit_code = 6
    code = "training_stopped"


class Interrupted(CrossfaceError):
    """Stopped by SIGINT or SIGTERM after the state was saved."""

    exit_code = 130
    code = "interrupted"
