"""Many scans with one warm model: read ahead, kept within memory, noted in a record, written."""

from medseg.inference.folders.cases import predict_cases, take_part
from medseg.inference.folders.finished import Part

__all__ = ["Part", "predict_cases", "take_part"]
