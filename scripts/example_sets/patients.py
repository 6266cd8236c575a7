"""Who is in ``phantom_ct``: which lesions each patient has on each day, in millilitres."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patient:
    """A patient of the phantom data set.

    Args:
        name: P01, P02, ...
        days: of the scans, counted from the first.
        lesions_ml: for each lesion its volume on each of those days; 0 on a day without it.
        orientation: the axis codes of the files; "" takes the next of ORIENTATIONS.
    """

    name: str
    lesions_ml: tuple[tuple[float, ...], ...] = ()
    days: tuple[int, ...] = (0,)
    orientation: str = ""


@dataclass(frozen=True)
class Scan:
    """One case: a patient on a day."""

    case: str
    number: int
    patient: Patient
    day: int
    day_index: int
    is_test: bool
    orientation: str


# How the files' axes run, taken in turn: i, j, k towards the patient's Right or Left, Anterior or Posterior, Superior
# or Inferior. Slices lie along k, as in most CT; two patients below are stored otherwise.
ORIENTATIONS = ("LPS", "RAS", "LAS", "LPS", "RPS", "LPI", "RAS")

TRAINING = (
    Patient("P01", ((22.0,), (1.4,))),
    Patient("P02"),
    Patient("P03", ((9.0, 4.0), (3.1, 1.9)), days=(0, 42)),
    Patient("P04", ((60.0,),)),
    Patient("P05", ((5.5,), (0.8,), (0.12,))),
    Patient("P06", ((30.0,), (2.2,))),
    Patient("P07", ((1.9, 4.0), (0.6, 1.6)), days=(0, 42)),
    Patient("P08", ((12.5,), (4.2,), (1.1,), (0.5,))),
    Patient("P09", ((40.0,), (0.9,))),
    Patient("P10"),
    Patient("P11", ((7.5,),), orientation="PLS"),
    Patient("P12", ((17.0,), (6.0,), (2.6,))),
    Patient("P13", ((3.6,), (0.05,))),
    Patient("P14", ((25.0, 7.5), (10.0, 0.0)), days=(0, 56)),
    Patient("P15", ((1.2,), (0.7,))),
    Patient("P16", ((48.0,), (3.3,))),
    Patient("P17", ((8.2,), (2.9,), (0.2,)), orientation="PSR"),
    Patient("P18"),
    Patient("P19", ((20.0,), (5.0,), (1.6,), (0.55,))),
    Patient("P20", ((4.6, 8.3), (0.0, 1.0)), days=(0, 63)),
)
TEST = (
    Patient("P21", ((12.0, 5.0), (2.4, 3.9)), days=(0, 42)),
    Patient("P22"),
    Patient("P23", ((34.0,), (4.4,), (0.95,))),
    Patient("P24", ((7.0,), (0.3,))),
    Patient("P25", ((18.0,), (6.5,), (2.0,), (0.7,))),
)


def list_scans() -> list[Scan]:
    """Every case of the data set, the training cases first."""
    scans: list[Scan] = []
    for patient in (*TRAINING, *TEST):
        for day_index, day in enumerate(patient.days):
            number = len(scans) + 1
            orientation = patient.orientation or ORIENTATIONS[number % len(ORIENTATIONS)]
            case = f"phantom_{number:03d}"
            scans.append(Scan(case, number, patient, day, day_index, patient in TEST, orientation))
    return scans
