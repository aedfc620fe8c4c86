"""Draw ``docs/drawn.jpg``: four drawn people, one per row, eight pictures each.

python docs/draw_sheet.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from crossface.data.drawn import DrawnFaces

ROWS, COLUMNS, SIDE = 4, 8, 128


def main() -> None:
    """Write the sheet beside this file."""
    faces = DrawnFaces(identities=ROWS, per_identity=COLUMNS, seed=7)
    cells = [faces.picture(i).image for i in range(ROWS * COLUMNS)]
    small = [np.asarray(Image.fromarray(cell).resize((SIDE, SIDE))) for cell in cells]
    rows = [np.hstack(small[r * COLUMNS : (r + 1) * COLUMNS]) for r in range(ROWS)]
    Image.fromarray(np.vstack(rows)).save(Path(__file__).parent / "drawn.jpg", quality=88)


if __name__ == "__main__":
    main()
