"""Where a NIfTI header places its voxels: up to three statements (sform, qform, spacing) that must not contradict.

Which of them other programs follow differs (SimpleITK takes the spacing from ``pixdim``, nibabel from the sform), so a
header that says two things is refused, where they differ in size, in a mirror or in which way an axis runs; where they
merely lie apart, as after a registration, the sform counts and the log says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.io.nibabel_alone import HeaderDataError

# nifti1.h, NIFTI_UNITS_METER, _MM, _MICRON; 0 is unknown, which everybody takes as millimetres.
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNIT_NAMES = {1: "metres", 3: "micrometres"}
# Headers keep float32; a difference of one per mille in a spacing is beyond any rounding, and 3 per mille of a volume.
SAME_SIZE = 1e-3
# Axes of two statements that are more than 45 degrees apart are not the same axes.
SMALLEST_COSINE = 0.7071
# Grids that lie apart by more than this are worth a line.
NOTED_SHIFT_VOXELS = 0.5


class Place(NamedTuple):
    """Where a header places a volume.

    Args:
        geometry: the grid, in millimetres RAS+.
        notes: what the user should know about how it was read, a line each.
    """

    geometry: Geometry
    notes: tuple[str, ...]


def read_place(raw: Any, shape: tuple[int, int, int], path: str | Path) -> Place:
    """Where a NIfTI header (nibabel's) places a volume of this shape.

    The standard's methods 3 (sform), 2 (qform) and 1 (spacing alone), in that order, converted to millimetres.

    Args:
        raw: the header.
        shape: of one volume.
        path: for messages.
    Returns:
        the grid and what is to be said about it.
    Raises:
        GeometryError: nothing usable is stated, or what is stated contradicts itself.
    """
    unit_mm, notes = _read_unit(raw)
    stated = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64)) * unit_mm
    found: dict[str, Geometry] = {}
    problem = ""
    for name, read in (("sform", _read_sform), ("qform", _read_qform)):
        if int(raw[f"{name}_code"]) <= 0:
            continue
        try:
            affine = read(raw)
            affine[:3] *= unit_mm
            found[name] = Geometry(shape, affine, (float(stated[0]), float(stated[1]), float(stated[2])))
        except (GeometryError, HeaderDataError, ValueError) as error:
            problem = problem or f"the {name} cannot be used: {error}"
    if not found:
        if problem:
            raise GeometryError(problem, code="bad_affine", file=path, remedy="Correct the header's orientation")
        notes.append("the header has no orientation; its axes are taken as right, anterior, superior")
        return Place(_read_spacing(raw, shape, unit_mm, path), tuple(notes))
    chosen, geometry = next(iter(found.items()))
    if problem:
        notes.append(f"{problem}; the {chosen} is used instead")
    if len(found) == 2:
        notes += _compare_forms(found["sform"], found["qform"], path)
    elif chosen == "sform":
        notes += _compare_spacing(geometry, stated, unit_mm, path)
    return Place(geometry, tuple(notes))


def _read_unit(raw: Any) -> tuple[float, list[str]]:
    code = int(raw["xyzt_units"]) & 7
    if code in _UNIT_NAMES:
        return _MILLIMETRES[code], [f"its lengths are {_UNIT_NAMES[code]}; they were converted to millimetres"]
    if code not in _MILLIMETRES:
        return 1.0, [f"its unit of length has the unknown code {code}; millimetres are taken"]
    return _MILLIMETRES[code], []


def _read_sform(raw: Any) -> NDArray[np.float64]:
    return np.array(raw.get_sform(), dtype=np.float64)


def _read_qform(raw: Any) -> NDArray[np.float64]:
    header = raw.copy()
    pixdim = header["pixdim"]
    pixdim[0] = -1.0 if pixdim[0] < 0 else 1.0  # nifti1.h: any other value counts as 1
    beyond = pixdim[int(raw["dim"][0]) + 1 : 4]  # of axes that a picture does not have
    beyond[beyond == 0] = 1.0
    return np.array(header.get_qform(), dtype=np.float64)


def _read_spacing(raw: Any, shape: tuple[int, int, int], unit_mm: float, path: str | Path) -> Geometry:
    spacing = np.asarray(raw["pixdim"][1:4], dtype=np.float64) * unit_mm
    beyond = spacing[int(raw["dim"][0]) :]
    beyond[beyond == 0] = unit_mm
    if not np.all(np.isfinite(spacing)) or spacing.min() <= 0:
        raise GeometryError(
            f"the header's spacing is {_format(spacing)}, expected three positive numbers", code="bad_spacing",
            file=path, remedy="Correct the header's spacing (pixdim)",
        )  # fmt: skip
    try:
        return Geometry.from_spacing(shape, spacing.tolist())
    except GeometryError:
        raise GeometryError(
            f"a spacing of {_format(spacing)} mm is no scan's", code="absurd_spacing", file=path,
            remedy="Correct the header's spacing or its unit",
        ) from None  # fmt: skip


def _compare_forms(sform: Geometry, qform: Geometry, path: str | Path) -> list[str]:
    """Refuse forms of other sizes, mirrored or turned; a note where they lie apart."""
    first, second = np.array(sform.measured_mm), np.array(qform.measured_mm)
    if np.abs(first / second - 1).max() > SAME_SIZE:
        raise _contradict(f"the sform has voxels of {_format(first)} mm, the qform of {_format(second)} mm", path)
    columns = [form.affine[:3, :3] / form.measured_mm for form in (sform, qform)]
    cosines = (columns[0] * columns[1]).sum(axis=0)
    mirrored = np.linalg.det(columns[0]) * np.linalg.det(columns[1]) < 0
    if mirrored or cosines.min() < SMALLEST_COSINE:
        raise _contradict(
            f"the sform's axes run to {sform.orientation}, the qform's to {qform.orientation}"
            + (": one is the mirror image of the other" if mirrored else ""),
            path,
        )
    shift = sform.largest_shift_voxels(qform)
    if shift > NOTED_SHIFT_VOXELS:
        return [f"its sform and its qform lie up to {shift:.3g} voxels apart; the sform is used"]
    return []


def _compare_spacing(sform: Geometry, stated: NDArray[np.float64], unit_mm: float, path: str | Path) -> list[str]:
    """Refuse a spacing other than the sform's; one that was never filled in (ones, zeros) is noted."""
    measured = np.array(sform.measured_mm)
    usable = np.isfinite(stated) & (stated > 0)
    if not (np.abs(measured / np.where(usable, stated, measured) - 1) > SAME_SIZE).any():
        return []
    text = f"its spacing (pixdim) is {_format(stated)} mm, its sform has voxels of {_format(measured)} mm"
    if (np.where(usable, stated, unit_mm) == unit_mm).all():
        return [f"{text}; the sform is used"]
    raise _contradict(text, path)


def _contradict(text: str, path: str | Path) -> GeometryError:
    return GeometryError(
        f"the header contradicts itself: {text}", code="contradiction", file=path,
        remedy="Keep what is right: correct pixdim, or set qform_code or sform_code to 0",
    )  # fmt: skip


def _format(spacing: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.4g}" for value in spacing)
