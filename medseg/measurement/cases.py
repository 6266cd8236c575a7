"""All measurements of one case, as rows of the measurement table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from medseg.core.errors import DatasetError, GeometryError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.model import VolumeErrors
from medseg.core.results import Measurement
from medseg.core.volume import Segmentation, Volume
from medseg.measurement.intensity import settle_scales
from medseg.measurement.intervals import add_interval, describe_members
from medseg.measurement.lesions import Lesion, MeasuredScan, measure_lesions, name_lesion, unite_lesions
from medseg.measurement.quantities import Quantity, describe_label, describe_lesion


def measure_case(
    segmentation: Segmentation,
    labels: LabelScheme,
    *,
    volume: Volume | None = None,
    probabilities: Mapping[str, NDArray[Any]] | None = None,
    volume_errors: VolumeErrors | None = None,
    member_volumes_ml: Mapping[str, Sequence[float]] | None = None,
    case: str,
    patient: str = "",
    day: int | None = None,
) -> list[Measurement]:
    """Volumes, diameters, shape and intensities of every label and of each of its lesions.

    Args:
        segmentation: the mask; voxels of the ignore label belong to no label.
        labels: what its values mean; regions are measured as their union.
        volume: the image on the same grid, for the intensities.
        probabilities: by label, (i, j, k), 0 to 1, on the same grid, for ``volume_partial_ml``.
        volume_errors: of the model that predicted the mask (``Predictor.volume_errors``): ``volume_ml`` of whole labels
            then has ``low`` and ``high``.
        member_volumes_ml: by label the volume in each network's own mask (``Prediction.member_volumes_ml``), for
            ``member_sd_ml``.
        case: the case's name.
        patient: whom the scan belongs to; the case's name where empty.
        day: days since the patient's first scan, where known.
    Returns:
        rows label by label: instance 0 for the whole label, 1, 2, ... for its lesions (26-neighbour components),
        largest first. An empty label has the volume 0 and no lesion rows; its diameters and shape are None with the
        status ``not_defined``. Intensities without an image are None with ``no_image``; with one there is a row per
        channel, named in ``definition``, with the unit HU or SUV where the channel's name tells it. Channels of PET
        have uptake too (``suv_max``, ``suv_peak``, ``suv_mean``, ``tlg``; ``tmtv_ml``, ``tlg_total`` and ``dmax_mm`` of
        the whole label), None where their unit is not SUV.
    Raises:
        GeometryError: image and mask lie on different grids.
        DatasetError: probabilities are missing for a label, or are none.
    """
    found = measure_labels(
        segmentation, labels, volume=volume, probabilities=probabilities, volume_errors=volume_errors,
        member_volumes_ml=member_volumes_ml, case=case, patient=patient, day=day,
    )  # fmt: skip
    return [row for rows, _ in found for row in rows]


def measure_labels(
    segmentation: Segmentation,
    labels: LabelScheme,
    *,
    volume: Volume | None = None,
    probabilities: Mapping[str, NDArray[Any]] | None = None,
    volume_errors: VolumeErrors | None = None,
    member_volumes_ml: Mapping[str, Sequence[float]] | None = None,
    case: str,
    patient: str = "",
    day: int | None = None,
) -> Iterator[tuple[list[Measurement], dict[str, Lesion]]]:
    """As ``measure_case``, label by label, with the lesions that the rows are about.

    Args:
        segmentation, labels, volume, probabilities, volume_errors, member_volumes_ml, case, patient, day: as for
            ``measure_case``.
    Returns:
        of each label its rows, and its lesions by ``lesion_id``, largest first.
    Raises:
        GeometryError: image and mask lie on different grids.
        DatasetError: probabilities are missing for a label, or are none.
    """
    geometry = segmentation.geometry
    if volume is not None and not volume.geometry.same_grid(geometry):
        raise GeometryError(
            f"the mask's grid is {geometry.describe()}, the image's {volume.geometry.describe()}",
            code="other_grid",
            case=case,
            remedy="Give the image that the mask was drawn on",
        )
    scales = () if volume is None else settle_scales(volume)
    for name in labels.names:
        probability = None if probabilities is None else _find_probability(probabilities, name, geometry.shape, case)
        scan = MeasuredScan(volume, scales, probability)
        try:
            lesions = measure_lesions(segmentation.array, name, labels, geometry, scan)
        except MedsegError as error:
            raise error.for_case(case) from None
        whole = unite_lesions(lesions, geometry, scan)
        named = {name_lesion(name, number): lesion for number, lesion in enumerate(lesions, start=1)}
        members = describe_members((member_volumes_ml or {}).get(name, ()))
        entries = [("", [*describe_label(whole, lesions, geometry, scan), *members])]
        entries += [(lesion_id, describe_lesion(lesion, geometry, scan)) for lesion_id, lesion in named.items()]
        rows = [
            add_interval(
                _make_row(quantity, case, patient or case, day, name, instance, lesion_id), volume_errors, labels
            )
            for instance, (lesion_id, quantities) in enumerate(entries)
            for quantity in quantities
        ]
        yield rows, named


def _find_probability(
    probabilities: Mapping[str, NDArray[Any]], label: str, shape: tuple[int, ...], case: str
) -> NDArray[Any]:
    if label not in probabilities:
        raise DatasetError(f"no probabilities of {label!r}", code="no_probabilities", case=case)
    found = probabilities[label]
    if found.shape != shape:
        raise DatasetError(
            f"the probabilities of {label!r} have the shape {found.shape}, the mask {shape}",
            code="bad_probabilities", case=case, remedy="Give those that were predicted on the same scan",
        )  # fmt: skip
    return found


def _make_row(
    quantity: Quantity, case: str, patient: str, day: int | None, label: str, instance: int, lesion_id: str
) -> Measurement:
    known = quantity.value is not None and math.isfinite(quantity.value)
    return Measurement(
        case=case,
        patient=patient,
        day=day,
        label=label,
        instance=instance,
        lesion_id=lesion_id,
        quantity=quantity.name,
        definition=quantity.definition,
        value=quantity.value if known else None,
        low=None,
        high=None,
        unit=quantity.unit,
        status=quantity.status or ("ok" if known else "not_defined"),
    )
