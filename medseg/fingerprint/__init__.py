"""What a data set looks like: problems of its cases, modalities, and the numbers that the planner decides by."""

from medseg.fingerprint.check import check_case, find_values
from medseg.fingerprint.extract import extract_fingerprint
from medseg.fingerprint.files import write_fingerprint
from medseg.fingerprint.inspection import Inspection, describe_inspection, inspect_dataset, inspect_path
from medseg.fingerprint.modality import Modality, infer_modality
from medseg.fingerprint.names import name_channels, name_labels
from medseg.fingerprint.summary import CaseSummary, summarise_case

__all__ = [
    "CaseSummary",
    "Inspection",
    "Modality",
    "check_case",
    "describe_inspection",
    "extract_fingerprint",
    "find_values",
    "infer_modality",
    "inspect_dataset",
    "inspect_path",
    "name_channels",
    "name_labels",
    "summarise_case",
    "write_fingerprint",
]
