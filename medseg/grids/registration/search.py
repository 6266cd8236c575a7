"""Where a scan lies in the space of another one of the same patient: rigid or affine registration with SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.grids.align import align_volume
from medseg.grids.registration.fields_of_view import (
    Matrix,
    find_middle,
    measure_turn,
    plan_copy,
    share_fields,
    shift_by,
    turn_about,
    turn_by_quarters,
)
from medseg.grids.registration.transforms import TO_LPS, load_itk, to_itk, to_matrix

Kind = Literal["rigid", "affine"]
Metric = Literal["mutual_information", "correlation"]

# Voxels along the longest side of the copies that are registered: enough for a fraction of a millimetre in a head and
# for one millimetre in a whole body, few enough for seconds (our choice, measured on the tests' phantoms).
_LONGEST_SIDE = 128
_LEAST_VOXELS = 4  # along each side, what ITK's smoothing needs
# Images are cut off at these percentiles, so that metal in CT or a bladder in PET leaves histogram bins for the rest.
_PERCENTILES = (0.5, 99.5)
# Coarse to fine: how much the copies are shrunk, and blurred in millimetres per millimetre of their spacing.
_SHRINK, _BLUR = [4, 2, 1], [2.0, 1.0, 0.5]
_HISTOGRAM_BINS = 32  # Mattes et al., IEEE Trans Med Imaging 2003;22:120-128, use as many
# Of the voxels at each level, always the same ones; and of those that starts and results are judged by.
_SAMPLED, _JUDGED = [1.0, 0.2, 0.05], 0.5
# The best starts are followed at the coarse level, the best of their results at the others.
_FOLLOWED, _COARSE, _FINE = 3, slice(0, 1), slice(1, 3)
# An affine search starts from the rigid result and from it turned either way about each axis: a head is so nearly an
# ellipsoid that stretching and turning together may fit it wrongly; so many of the results are followed further.
TO_LPSED_DEGREES, _FOLLOWED_AFFINE = 10.0, 2
# Of the smaller scan's field of view so much has to lie within the other's; below the second share it is said.
_LEAST_SHARED, _WELL_SHARED = 0.25, 0.5
# A patient is no more than this much larger or smaller in one scan than in another, and seldom lies turned by more.
_MOST_STRETCH, _MOST_TURN_DEGREES = 1.25, 45.0
# By how much of itself the metric must improve for nine further degrees of freedom to be trusted (our choice).
_CLEARLY_BETTER = 0.05


@dataclass(frozen=True, eq=False)
class Registration:
    """How a scan is brought to another one.

    Args:
        matrix: 4x4, from the moving scan's world millimetres (RAS+) to the fixed scan's.
        kind: ``rigid`` or ``affine``, as it was found.
        metric: what was made as good as it gets.
        before, after: the metric in world space as the files have it and at ``matrix``; lower is better, infinite where
            the scans do not share enough of their fields of view.
        shift_mm: how far the middle of the moving field of view was moved.
        shared: the part of the smaller field of view that lies within the other, 0 to 1, at ``matrix``.
        warnings: what makes the result doubtful, a line each.
    """

    matrix: Matrix
    kind: Kind
    metric: Metric
    before: float
    after: float
    shift_mm: float
    shared: float
    warnings: tuple[str, ...] = ()

    @property
    def turn_degrees(self) -> float:
        """The angle by which the moving scan was turned."""
        return measure_turn(self.matrix)

    @property
    def stretch(self) -> tuple[float, float]:
        """The least and the largest factor by which lengths were changed; 1 for a rigid result."""
        factors = np.linalg.svd(self.matrix[:3, :3], compute_uv=False)
        return float(factors[-1]), float(factors[0])


@dataclass(frozen=True, eq=False)
class _Copy:
    """A scan with cubic voxels along the world's axes, in ITK's own orientation, and the centre of what it shows."""

    image: Any
    blurred: Any
    field: Geometry
    centre_mm: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two scans and what is made as good as it gets between them."""

    fixed: _Copy
    moving: _Copy
    metric: Metric


def register_scans(
    fixed: Volume,
    moving: Volume,
    *,
    kind: Kind = "rigid",
    metric: Metric = "mutual_information",
    starts: Sequence[Matrix] = (),
) -> Registration:
    """Register a scan to another one of the same patient.

    Args:
        fixed, moving: images of one channel each, or masks as numbers.
        kind: ``rigid`` (turned and shifted), or ``affine`` (stretched and sheared too).
        metric: ``mutual_information`` for images, whatever their contrast; ``correlation`` for masks.
        starts: 4x4 each, moving to fixed world: where to begin besides the world space as it is, the centres of mass
            and the middles of the fields of view on one another.
    Returns:
        the best of the results from the best starts, the world space as it is where nothing is better; one thread and
        fixed samples, so that it is the same each time. An affine result that is hardly better than the rigid one, or
        stretches the patient beyond reason, is given up for it, which a warning says.
    Raises:
        GeometryError: an image is constant or too thin, or the scans share too little even where they fit best.
    Source: SimpleITK's registration framework (Yaniv et al., J Digit Imaging 2018;31:290-303) over three resolutions,
        regular-step gradient descent for rigid, L-BFGS for affine motion, metric of Mattes et al. 2003.
    """
    pair = _Pair(_make_copy(fixed, metric), _make_copy(moving, metric), metric)
    still, mobile = pair.fixed, pair.moving
    middles_mm = [find_middle(copy.field) for copy in (still, mobile)]
    shifts = [shift_by(still.centre_mm - mobile.centre_mm), shift_by(middles_mm[0] - middles_mm[1])]
    candidates = [np.eye(4), *shifts, *starts]
    judged = [_judge(pair, start) for start in candidates]
    followed = sorted(range(len(candidates)), key=judged.__getitem__)[:_FOLLOWED]
    coarse = [_optimise(pair, candidates[index], "rigid", _COARSE) for index in followed]
    rigid = _optimise(pair, min(coarse, key=lambda matrix: _judge(pair, matrix)), "rigid", _FINE)
    after, best = min((judged[0], candidates[0]), (_judge(pair, rigid), rigid), key=lambda found: found[0])
    chosen: Kind = "rigid"
    doubts: list[str] = []
    if kind == "affine":
        value, stretched = _search_affine(pair, best)
        fault = _find_fault(stretched, value, after)
        if fault:
            doubts.append(f"{fault}; the rigid result is used")
        else:
            chosen, after, best = "affine", value, stretched
    shared = share_fields(still.field, mobile.field, best)
    if not np.isfinite(after):
        raise GeometryError(
            f"even where they fit best the scans share no more than {_LEAST_SHARED:.0%} of the smaller field of view",
            code="cannot_register", remedy="Check that both scans show the same part of the same patient",
        )  # fmt: skip
    moved_mm = float(np.linalg.norm(best[:3, :3] @ middles_mm[1] + best[:3, 3] - middles_mm[1]))
    result = Registration(best, chosen, metric, judged[0], after, moved_mm, shared, tuple(doubts))
    return replace(result, warnings=(*doubts, *_list_doubts(result)))


def challenge_turn(fixed: Volume, moving: Volume, found: Registration) -> tuple[float, float]:
    """The best place among those near a result turned by quarters and halves, as for a scan that lies turned over.

    Args:
        fixed, moving: the images that were registered.
        found: the result, by mutual information.
    Returns:
        the metric there, comparable with ``found.after``, lower is better; and the turn against the result, degrees.
    """
    pair = _Pair(_make_copy(fixed, found.metric), _make_copy(moving, found.metric), found.metric)
    middle = found.matrix[:3, :3] @ pair.moving.centre_mm + found.matrix[:3, 3]
    starts = list(turn_by_quarters(found.matrix, middle))
    judged = [_judge(pair, start) for start in starts]
    followed = sorted(range(len(starts)), key=judged.__getitem__)[:_FOLLOWED]
    coarse = [_optimise(pair, starts[index], "rigid", _COARSE) for index in followed]
    value, best = min(((_judge(pair, matrix), matrix) for matrix in coarse), key=lambda entry: entry[0])
    return value, measure_turn(best @ np.linalg.inv(found.matrix))


def _make_copy(volume: Volume, metric: Metric) -> _Copy:
    itk = load_itk()
    array = volume.array.astype(np.float32)
    lowest, highest = np.nanmin(array), np.nanmax(array)
    if metric == "mutual_information" and lowest < highest:
        # Of a picture of little, such as a PET scan, nearly all of the values may be one and the same.
        low, high = np.nanpercentile(array[:, ::2, ::2, ::2], _PERCENTILES)
        lowest, highest = (low, high) if low < high else (lowest, highest)
    array = np.clip(np.nan_to_num(array, nan=float(lowest)), lowest, highest)
    if len(array) != 1 or lowest == highest:
        raise GeometryError(
            "an image to register is constant or has several channels", code="cannot_register",
            remedy="Give images of one channel that show the patient",
        )  # fmt: skip
    geometry = plan_copy(volume.geometry, _LONGEST_SIDE, _LEAST_VOXELS)
    resampled = align_volume(Volume(array, volume.geometry, volume.channels), geometry).array[0]
    # Both scans' copies must be of one type.
    image = itk.GetImageFromArray(np.ascontiguousarray(resampled.T, dtype=np.float32))
    image.SetSpacing(list(geometry.spacing_mm))
    image.SetOrigin((TO_LPS @ geometry.affine)[:3, 3].tolist())
    blurred = itk.SmoothingRecursiveGaussian(image, geometry.spacing_mm[0])
    blurred = itk.Shrink(blurred, [2 if n >= 2 * _LEAST_VOXELS else 1 for n in geometry.shape])
    return _Copy(image, blurred, volume.geometry, _find_centre(resampled, geometry))


def _find_centre(array: NDArray[Any], geometry: Geometry) -> NDArray[np.float64]:
    # The centre of what is brighter than the mean: the patient, whatever value the air has.
    bright = array > array.mean()
    counts = [bright.sum(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    index = [np.average(np.arange(len(count)), weights=count) for count in counts]
    return geometry.to_world(np.array(index))


def _find_fault(matrix: Matrix, value: float, rigid_value: float) -> str:
    # Why an affine result is not to be used; empty where it is.
    factors = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if np.linalg.det(matrix[:3, :3]) <= 0 or factors[0] > _MOST_STRETCH or factors[-1] < 1 / _MOST_STRETCH:
        return f"the affine result changes lengths by x {factors[-1]:.2f} to {factors[0]:.2f}, beyond reason"
    needed = _CLEARLY_BETTER * abs(rigid_value)
    return "" if rigid_value - value > needed else "the affine result is hardly better than the rigid one"


def _list_doubts(found: Registration) -> list[str]:
    doubts = []
    if found.shared < _WELL_SHARED:
        doubts.append(f"only {found.shared:.0%} of the smaller field of view lies within the other scan")
    if found.turn_degrees > _MOST_TURN_DEGREES:
        doubts.append(f"the scan was turned by {found.turn_degrees:.0f} degrees")
    return doubts


def _make_method(metric: Metric) -> Any:
    itk = load_itk()
    method = itk.ImageRegistrationMethod()
    if metric == "mutual_information":
        method.SetMetricAsMattesMutualInformation(_HISTOGRAM_BINS)
    else:
        method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetInterpolator(itk.sitkLinear)
    method.SetNumberOfThreads(1)  # the order of sums, and so the last digits, would change with it
    return method


def _judge(pair: _Pair, matrix: Matrix) -> float:
    # Where scans hardly overlap, mutual information may be high by chance.
    if share_fields(pair.fixed.field, pair.moving.field, matrix) < _LEAST_SHARED:
        return float("inf")
    method = _make_method(pair.metric)
    method.SetMetricSamplingPercentage(_JUDGED, 1)
    method.SetInitialTransform(to_itk(matrix, "affine", np.zeros(3)))
    try:
        return float(method.MetricEvaluate(pair.fixed.blurred, pair.moving.blurred))
    except RuntimeError as error:
        _pass_over_itk(error)  # the images do not overlap there
        return float("inf")


def _optimise(pair: _Pair, start: Matrix, kind: Kind, levels: slice) -> Matrix:
    fixed = pair.fixed.image
    spacing = fixed.GetSpacing()[0]
    centre = np.asarray(fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()]))
    method = _make_method(pair.metric)
    most = max(1, min(*fixed.GetSize(), *pair.moving.image.GetSize()) // _LEAST_VOXELS)
    method.SetMetricSamplingPercentagePerLevel(_SAMPLED[levels], 1)
    method.SetShrinkFactorsPerLevel([min(shrink, most) for shrink in _SHRINK[levels]])
    method.SetSmoothingSigmasPerLevel([blur * spacing for blur in _BLUR[levels]])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    if kind == "affine":  # fixed steps get nowhere along twelve unequal parameters
        method.SetOptimizerAsLBFGS2(solutionAccuracy=1e-6, numberOfIterations=20 if levels == _COARSE else 60)
        # An entry of the matrix moves the patient's points by as much as their distance from the middle.
        radius = spacing * float(np.mean(fixed.GetSize())) / 4
        method.SetOptimizerScales([radius**2] * 9 + [1.0] * 3)
    else:
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2 * spacing, minStep=spacing / 200, numberOfIterations=100, gradientMagnitudeTolerance=1e-8
        )
        method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(to_itk(start, kind, centre), inPlace=False)
    try:
        found = method.Execute(fixed, pair.moving.image)
    except RuntimeError as error:
        _pass_over_itk(error)  # the images moved off one another
        return start
    return to_matrix(found)


def _pass_over_itk(error: RuntimeError) -> None:
    # ITK gives up where images do not overlap; what SimpleITK itself refuses is a fault of ours.
    if "sitk::ERROR" in str(error):
        raise error


def _search_affine(pair: _Pair, rigid: Matrix) -> tuple[float, Matrix]:
    # The best affine result and its metric.
    turns = turn_about(rigid, find_middle(pair.fixed.field), TO_LPSED_DEGREES)
    coarse = [_optimise(pair, start, "affine", _COARSE) for start in (rigid, *turns)]
    followed = sorted(coarse, key=lambda matrix: _judge(pair, matrix))[:_FOLLOWED_AFFINE]
    found = [_optimise(pair, start, "affine", _FINE) for start in followed]
    return min(((_judge(pair, matrix), matrix) for matrix in found), key=lambda entry: entry[0])
