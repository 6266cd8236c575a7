"""Who or what made an object: named in it, so that readers know what to think of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medseg.io.dicom.codes import Code, find_code
from medseg.io.dicom.segments import clean_text

MANUFACTURER = "medseg"


@dataclass(frozen=True)
class Maker:
    """Who or what drew a mask, and the series that is written.

    Args:
        model: the model's name; empty for none.
        model_version: its version or the hash of its weights.
        by_hand: whether people drew it.
        series_number: of the written series; numbers of real scanners' series are small.
        series_description: of the written series; what it holds where empty.
        series_uid: of the written series; a new one where empty.
    """

    model: str = ""
    model_version: str = ""
    by_hand: bool = False
    series_number: int = 9000
    series_description: str = ""
    series_uid: str = ""


def describe_software() -> dict[str, Any]:
    """What highdicom wants to know of the software that writes an object."""
    version = find_version()
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MANUFACTURER,
        "software_versions": version,
        "device_serial_number": version,
    }


def find_version() -> str:
    """This package's version."""
    from medseg import __version__

    return str(__version__)


def name_algorithm(maker: Maker) -> tuple[str, str]:
    """The name and the version of the algorithm that drew a mask, as DICOM's long strings."""
    name = f"medseg: {maker.model}" if maker.model else "medseg"
    return clean_text(name), clean_text(maker.model_version or find_version())


def to_concept(code: Code) -> Any:
    """A code as highdicom has it."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def identify_algorithm(maker: Maker) -> Any:
    """highdicom's identification of the algorithm; None where people drew the mask."""
    if maker.by_hand:
        return None
    from highdicom import AlgorithmIdentificationSequence

    name, version = name_algorithm(maker)
    return AlgorithmIdentificationSequence(name, to_concept(find_code("ArtificialIntelligence", "DCM")), version)
