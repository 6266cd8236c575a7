"""Where a scan lies in the space of another one of the same patient: rigid or affine registration with SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import atomic_path
from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.grids import align_volume

Kind = Literal["rigid", "affine"]
Metric = Literal["mutual_information", "correlation"]

# Voxels along the longest side of the copies that are registered: enough for a fraction of a millimetre in a head and
# for one millimetre in a whole body, few enough for seconds (our choice, measured on the tests' phantoms).
_LONGEST_SIDE = 128
# Coarse to fine: how much the copies are shrunk, and blurred in millimetres per millimetre of their spacing.
_SHRINK, _BLUR = (4, 2, 1), (2.0, 1.0, 0.5)
_HISTOGRAM_BINS = 32  # Mattes et al., IEEE Trans Med Imaging 2003;22:120-128, use as many
# Of the voxels at each level, always the same ones; and of those that starts and results are judged by.
_SAMPLED, _JUDGED = (1.0, 0.2, 0.2), 0.1
# The two best starts are followed at the coarse level, the better result at the others.
_FOLLOWED, _COARSE, _FINE, _ALL = 2, slice(0, 1), slice(1, 3), slice(0, 3)
# ITK's physical space is LPS.
_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Registration:
    """How a scan is brought to another one.

    Args:
        matrix: 4x4, from the moving scan's world millimetres (RAS+) to the fixed scan's.
        kind: ``rigid`` or ``affine``.
        metric: what was made as good as it gets.
        before, after: the metric in world space as the files have it and at ``matrix``; lower is better.
    """

    matrix: NDArray[np.float64]
    kind: Kind
    metric: Metric
    before: float
    after: float


def register_scans(
    fixed: Volume,
    moving: Volume,
    *,
    kind: Kind = "rigid",
    metric: Metric = "mutual_information",
    starts: Sequence[NDArray[np.float64]] = (),
) -> Registration:
    """Register a scan to another one of the same patient.

    Args:
        fixed, moving: images of one channel each, or masks as numbers.
        kind: ``rigid`` (turned and shifted), or ``affine`` (stretched and sheared too).
        metric: ``mutual_information`` for images, whatever their contrast; ``correlation`` for masks.
        starts: 4x4 each, moving to fixed world: where to begin besides the world space as it is and the centres of
            mass on one another.
    Returns:
        the best of the results from the two best starts; one thread and fixed samples, so that it is the same each
        time.
    Raises:
        GeometryError: an image is constant, so that nothing can be registered.
    Source: SimpleITK's registration framework (Yaniv et al., J Digit Imaging 2018;31:290-303), regular-step gradient
        descent over three resolutions, metric of Mattes et al. 2003.
    """
    still, mobile = _to_image(fixed), _to_image(moving)
    candidates = [np.eye(4), _match_centres(fixed, moving), *starts]
    begun = sorted((_measure(still, mobile, start, metric), index) for index, start in enumerate(candidates))
    before = next(value for value, index in begun if index == 0)
    best, after = candidates[0], before
    coarse = [_optimise(still, mobile, candidates[index], "rigid", metric, _COARSE) for _, index in begun[:_FOLLOWED]]
    matrix = min(coarse, key=lambda found: _measure(still, mobile, found, metric))
    steps = (("rigid", _FINE), ("affine", _ALL))
    for step, levels in steps[: 1 + (kind == "affine")]:
        matrix = _optimise(still, mobile, matrix, step, metric, levels)
        value = _measure(still, mobile, matrix, metric)
        if value < after:
            best, after = matrix, value
    return Registration(best, kind, metric, before, after)


def write_transform(path: str | Path, matrix: NDArray[np.float64]) -> None:
    """Write a transform as ITK reads it (``.tfm``), for 3D Slicer, ITK-SNAP and SimpleITK.

    Args:
        path: the file, ending in ``.tfm``.
        matrix: 4x4, from the moving scan's world (RAS+) to the fixed scan's. The file holds its inverse in LPS, from
            points of the fixed scan to points of the moving one, as ITK resamples a moving image with.
    """
    itk = _load_itk()
    transform = _to_itk(matrix, "affine", np.zeros(3))
    with atomic_path(path) as temporary:
        itk.WriteTransform(transform, str(temporary))


def _load_itk() -> Any:
    # Loaded where it is used alone, since it takes a third of a second; it has no types.
    import SimpleITK

    return SimpleITK


def _to_image(volume: Volume) -> Any:
    # A copy with cubic voxels along the world's axes, in ITK's own orientation, so that any grid can be taken.
    itk = _load_itk()
    if len(volume.array) != 1 or volume.array.min() == volume.array.max():
        raise GeometryError(
            "an image to register is constant or has several channels", code="cannot_register",
            remedy="Give images of one channel that show the patient",
        )  # fmt: skip
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in volume.geometry.shape], indexing="ij")).reshape(3, -1).T
    world = volume.geometry.to_world(corners)
    low, high = world.min(axis=0), world.max(axis=0)
    spacing = max(float((high - low).max()) / _LONGEST_SIDE, min(volume.geometry.spacing_mm))
    shape = np.maximum(np.ceil((high - low) / spacing).astype(int), 1)
    # LPS axes: x and y run down in RAS+.
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    affine[:3, 3] = [high[0] - spacing / 2, high[1] - spacing / 2, low[2] + spacing / 2]
    geometry = Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    array = align_volume(volume, geometry).array[0]
    image = itk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing([spacing] * 3)
    image.SetOrigin((_TURN @ affine)[:3, 3].tolist())
    return image


def _match_centres(fixed: Volume, moving: Volume) -> NDArray[np.float64]:
    shift = np.eye(4)
    shift[:3, 3] = _find_centre(fixed) - _find_centre(moving)
    return shift


def _find_centre(volume: Volume) -> NDArray[np.float64]:
    # The centre of mass above the lowest value, so that air weighs nothing.
    weights = volume.array[0].astype(np.float64) - float(volume.array.min())
    index = [
        float((weights.sum(axis=tuple(other for other in range(3) if other != axis)) * np.arange(n)).sum())
        for axis, n in enumerate(weights.shape)
    ]
    return volume.geometry.to_world(np.array(index) / weights.sum())


def _make_method(metric: Metric) -> Any:
    itk = _load_itk()
    method = itk.ImageRegistrationMethod()
    if metric == "mutual_information":
        method.SetMetricAsMattesMutualInformation(_HISTOGRAM_BINS)
    else:
        method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetInterpolator(itk.sitkLinear)
    method.SetNumberOfThreads(1)  # the order of sums, and so the last digits, would change with it
    return method


def _measure(fixed: Any, moving: Any, matrix: NDArray[np.float64], metric: Metric) -> float:
    itk = _load_itk()
    method = _make_method(metric)
    method.SetMetricSamplingPercentage(_JUDGED, 1)
    method.SetInitialTransform(_to_itk(matrix, "affine", np.zeros(3)))
    smoothed = [itk.SmoothingRecursiveGaussian(image, image.GetSpacing()[0]) for image in (fixed, moving)]
    try:
        return float(method.MetricEvaluate(*smoothed))
    except RuntimeError:  # the images do not overlap there
        return float("inf")


def _optimise(
    fixed: Any, moving: Any, start: NDArray[np.float64], kind: str, metric: Metric, levels: slice
) -> NDArray[np.float64]:
    spacing = fixed.GetSpacing()[0]
    centre = np.asarray(fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()]))
    method = _make_method(metric)
    method.SetMetricSamplingPercentagePerLevel(_SAMPLED[levels], 1)
    method.SetShrinkFactorsPerLevel(_SHRINK[levels])
    method.SetSmoothingSigmasPerLevel([blur * spacing for blur in list(_BLUR)[levels]])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    if kind == "affine":  # fixed steps get nowhere along twelve unequal parameters
        method.SetOptimizerAsGradientDescentLineSearch(
            learningRate=1.0, numberOfIterations=60, convergenceMinimumValue=1e-7, convergenceWindowSize=8
        )
    else:
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2 * spacing, minStep=spacing / 200, numberOfIterations=100, gradientMagnitudeTolerance=1e-8
        )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(_to_itk(start, kind, centre), inPlace=False)
    try:
        found = method.Execute(fixed, moving)
    except RuntimeError:  # the images moved off one another
        return start
    return _to_matrix(found)


def _to_itk(matrix: NDArray[np.float64], kind: str, centre: NDArray[np.float64]) -> Any:
    # From fixed to moving points in LPS, as ITK has it.
    itk = _load_itk()
    inverse = _TURN @ np.linalg.inv(matrix) @ _TURN
    if kind == "rigid":
        transform = itk.VersorRigid3DTransform()
        left, _, right = np.linalg.svd(inverse[:3, :3])
        linear = left @ right
    else:
        transform, linear = itk.AffineTransform(3), inverse[:3, :3]
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(linear.ravel().tolist())
    transform.SetTranslation((inverse[:3, 3] + linear @ centre - centre).tolist())
    return transform


def _to_matrix(transform: Any) -> NDArray[np.float64]:
    # From moving to fixed world in RAS+.
    origin = np.asarray(transform.TransformPoint([0.0, 0.0, 0.0]))
    inverse = np.eye(4)
    inverse[:3, :3] = np.stack([np.asarray(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()], 1)
    inverse[:3, 3] = origin
    return np.asarray(np.linalg.inv(_TURN @ inverse @ _TURN))
