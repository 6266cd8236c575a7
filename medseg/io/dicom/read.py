"""Reading a series: its planes stacked by their positions, or refused with what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, FormatError, GeometryError, MedsegError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.io.dicom.brightness import check_scales
from medseg.io.dicom.departures import find_lack, note_departures, note_lost_slices
from medseg.io.dicom.evening import even_out, place_evenly, straighten
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.kinds import IMAGE
from medseg.io.dicom.series import DicomSeries
from medseg.io.dicom.source import DicomSource, SourceFrame
from medseg.io.dicom.stacking import Stack, find_doubt, find_fault, lay_out, make_geometry, place_of
from medseg.io.guard import check_geometry
from medseg.io.voxels import check_varied

TILTS, GAPS = ("refuse", "resample"), ("refuse", "interpolate")
# Thinner slices than their distance by more than this leave parts of the patient unseen.
NOTED_THINNESS = 0.8
# What a gantry's stated angle may differ from the pile's without a word.
SAME_TILT_DEGREES = 0.5
_FILLABLE = ("missing_slice", "varying_spacing")


def read_series(
    series: DicomSeries, *, tilt: str = "refuse", gaps: str = "refuse"
) -> tuple[Volume, DicomSource, tuple[str, ...]]:
    """A series of images as a volume.

    Args:
        series: as ``find_series`` gives it.
        tilt: what becomes of planes that lean off their normal (a tilted CT gantry): ``refuse``, or ``resample`` them
            onto an upright grid.
        gaps: what becomes of missing slices and varying distances: ``refuse``, or ``interpolate`` between planes.
    Returns:
        the volume, (1, i, j, k) in the file's unit, its channel called by the modality; where its planes came from; and
        a line for everything that was changed or is doubtful.
    Raises:
        GeometryError: the planes are no even, upright grid and the options do not say what to do about it.
        FormatError: it is no image, or a file is missing, damaged or cannot be decoded.
        DatasetError: files of two patients or studies, or an unknown option.
        ResourceError: the memory cannot hold it.
    """
    try:
        return _read(series, tilt, gaps)
    except MedsegError as error:
        raise error.for_case(series.name) from None


def plan_stack(series: DicomSeries, *, tilt: str = "refuse", gaps: str = "refuse") -> Stack:
    """How the planes of a series lie, from headers alone; raises as ``read_series`` does for everything but pixels.

    Args:
        series: of images.
        tilt, gaps: as ``read_series`` takes them.
    Returns:
        the stack, usable as the options say.
    """
    for option, value, words in (("tilt", tilt, TILTS), ("gaps", gaps, GAPS)):
        if value not in words:
            raise DatasetError(
                f"--{option} {value!r}, expected {' or '.join(words)}", code="bad_option",
                remedy=f"Write --{option} {words[1]}",
            )  # fmt: skip
    if series.problem is not None:
        raise series.problem
    if series.kind != IMAGE:
        raise FormatError(f"the series is no image but {series.kind}", code="no_image", file=series.files[0])
    stack = lay_out(series.planes)
    fault = find_fault(stack) or find_doubt(stack)
    if fault is not None and not (gaps == "interpolate" and fault.code in _FILLABLE):
        raise fault
    lack = find_lack(stack.planes)
    if lack is not None:
        raise lack
    if stack.tilt_degrees and tilt == "refuse":
        raise GeometryError(
            f"the planes lean by {stack.tilt_degrees:.1f} degrees off their normal, as a tilted gantry's do: from first"
            f" to last they move {np.hypot(*stack.offsets_mm[-1]):.4g} mm sideways, expected 0 mm",
            code="tilted", file=stack.planes[0].path, remedy="Straighten it with --tilt resample",
        )  # fmt: skip
    return stack


def _read(series: DicomSeries, tilt: str, gaps: str) -> tuple[Volume, DicomSource, tuple[str, ...]]:
    from medseg.io.dicom.pixels import read_frames

    stack = plan_stack(series, tilt=tilt, gaps=gaps)
    path = stack.planes[0].path
    even = find_fault(stack) is None
    if even and not stack.tilt_degrees:  # its grid is known before a pixel is read
        check_geometry(make_geometry(stack), path)
    pixels = read_frames(stack.planes)
    check_varied(pixels.array, path)
    notes = [*series.notes, *note_stack(stack), *pixels.notes, *check_scales(pixels.array, stack.planes)]
    if pixels.padded_voxels:
        notes.append(f"{pixels.padded_voxels} voxels of padding were given the lowest value, {pixels.array.min():g}")
    array, geometry = _settle_grid(pixels.array, stack, even, notes)
    check_geometry(geometry, path)
    resampled = array is not pixels.array
    source = _note_source(series, stack, geometry, resampled=resampled)
    return Volume(array[None], geometry, (series.modality or "image",)), source, tuple(notes)


def locate_series(
    series: DicomSeries, *, tilt: str = "refuse", gaps: str = "refuse"
) -> tuple[DicomSource, tuple[str, ...]]:
    """Where a series lies, for masks that are drawn on it: as ``read_series``, but without its voxels.

    Args:
        series: of images.
        tilt, gaps: as ``read_series`` takes them.
    Returns:
        where its planes come from, and what is doubtful; pixels are read only where they have to be resampled.
    Raises:
        MedsegError: as ``read_series``.
    """
    try:
        stack = plan_stack(series, tilt=tilt, gaps=gaps)
        if stack.tilt_degrees or find_fault(stack) is not None:
            _, source, notes = _read(series, tilt, gaps)
            return source, notes
        geometry = check_geometry(make_geometry(stack), stack.planes[0].path)
    except MedsegError as error:
        raise error.for_case(series.name) from None
    return _note_source(series, stack, geometry, resampled=False), (*series.notes, *note_stack(stack))


def _note_source(series: DicomSeries, stack: Stack, geometry: Geometry, *, resampled: bool) -> DicomSource:
    frames = tuple(map(_note_frame, stack.planes))
    return DicomSource(
        series_uid=series.series_uid,
        study_uid=series.study_uid,
        frame_of_reference_uid=stack.planes[0].frame_of_reference_uid,
        modality=series.modality,
        geometry=geometry,
        frames=() if resampled else frames,
        resampled_frames=frames if resampled else (),
    )


def _settle_grid(array: NDArray[Any], stack: Stack, even: bool, notes: list[str]) -> tuple[NDArray[Any], Geometry]:
    """The values on an upright, even grid; the same array where the planes are one."""
    if even and not stack.tilt_degrees:
        return array, make_geometry(stack)
    origin_mm = np.zeros(2)
    step_mm = float(stack.distances_mm[-1]) / (len(stack.planes) - 1)
    if stack.tilt_degrees:
        array, origin_mm, (uncovered, moved) = straighten(array, stack)
        notes.append(
            f"the planes lean by {stack.tilt_degrees:.1f} degrees: they were resampled onto an upright grid, moved by"
            f" up to {moved:.1f} voxels; the {100 * uncovered:.0f} % of it that no plane covers got the lowest value"
        )
    if not even:
        steps, before = np.diff(stack.distances_mm), array.shape[2]
        array, step_mm = even_out(array, stack)
        notes.append(
            f"{before} planes lie {steps.min():.4g} to {steps.max():.4g} mm apart: they were interpolated linearly onto"
            f" {array.shape[2]} planes {step_mm:.4g} mm apart"
        )
    columns, rows, count = array.shape
    return array, place_evenly((columns, rows, count), stack, step_mm, origin_mm)


def note_stack(stack: Stack) -> list[str]:
    """What is doubtful about planes that can be used.

    Args:
        stack: as ``plan_stack`` gives it.
    Returns:
        a line each; empty as a rule.
    """
    first = place_of(stack.planes[0])
    if len(stack.planes) == 1:
        stated = first.thickness_mm is not None and first.thickness_mm > 0
        what = "its stated thickness" if stated else "the spacing of its pixels, as no thickness is stated"
        return [f"a single slice: its extent along the normal, {stack.step_mm:.4g} mm, is {what}"]
    notes = [*note_lost_slices(stack.planes), *note_departures(stack.planes)]
    differing = len({(plane.scale.slope, plane.scale.intercept) for plane in stack.planes}) > 1
    if differing and stack.planes[0].modality == "CT" and not any("Rescale" in note for note in notes):
        notes.append("slope or intercept differs from slice to slice, which is odd for CT: compare their brightness")
    if first.thickness_mm and 0 < first.thickness_mm < NOTED_THINNESS * stack.step_mm:
        notes.append(
            f"slices {first.thickness_mm:.4g} mm thick lie {stack.step_mm:.4g} mm apart: parts between are unseen"
        )
    if first.tilt_degrees and abs(first.tilt_degrees) > SAME_TILT_DEGREES and not stack.tilt_degrees:
        tilted = abs(float(stack.axes[2][2])) < np.cos(np.radians(SAME_TILT_DEGREES))
        if not tilted:
            notes.append(
                f"the header states a gantry tilt of {first.tilt_degrees:.1f} degrees, but the planes stand upright; if"
                " the scanner did not straighten them, their positions are wrong"
            )
    return notes


def _note_frame(plane: FrameHeader) -> SourceFrame:
    return SourceFrame(
        plane.path, plane.sop_class_uid, plane.sop_instance_uid, plane.number, place_of(plane).position_mm
    )
