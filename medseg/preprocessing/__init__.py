"""From scans to what the network sees, on disk and back again."""

from medseg.preprocessing.blocks import LogitBlock
from medseg.preprocessing.normalise import Scaling, apply_scalings
from medseg.preprocessing.prepare import Prepared, PreparedGrid, prepare_case
from medseg.preprocessing.previous import find_body, prepare_previous
from medseg.preprocessing.probabilities import restore_probabilities, stream_probabilities
from medseg.preprocessing.restore import bound_logits, restore_blocks, restore_segmentation
from medseg.preprocessing.store import (
    PreparedCase,
    find_locations,
    is_current,
    open_prepared,
    read_index,
    write_index,
    write_prepared,
)

__all__ = [
    "LogitBlock",
    "Prepared",
    "PreparedCase",
    "PreparedGrid",
    "Scaling",
    "apply_scalings",
    "bound_logits",
    "find_body",
    "find_locations",
    "is_current",
    "open_prepared",
    "prepare_case",
    "prepare_previous",
    "read_index",
    "restore_blocks",
    "restore_probabilities",
    "restore_segmentation",
    "stream_probabilities",
    "write_index",
    "write_prepared",
]
