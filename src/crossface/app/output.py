"""Results: JSON to a file or stdout, tables to people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crossface.core.files import write_json


def show_json(value: Any, target: Path) -> None:  # noqa: ANN401
    """Write JSON atomically to a file, or to stdout for "-"."""
    if str(target) == "-":
        print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        write_json(target, value)
