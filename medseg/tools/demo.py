"""The example scans that ``medseg demo`` runs on."""

from __future__ import annotations

from pathlib import Path

from medseg.core.errors import DatasetError

EXAMPLE = Path("data_examples") / "phantom_ct"


def find_examples() -> Path:
    """The folder of the phantom CT scans: of this checkout, or below the present folder."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (root / EXAMPLE / "dataset.json").is_file():
            return root / EXAMPLE
    raise DatasetError(
        "the example scans are not here", code="no_examples", file=EXAMPLE, remedy="Run it in a checkout of medseg"
    )
