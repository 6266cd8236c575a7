"""Images in memory, as nibabel and SimpleITK hold them: the same volume as from their file."""

from __future__ import annotations

import logging
import zlib
from typing import Any

import numpy as np

from medseg.core.errors import FormatError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.io import guard
from medseg.io.voxels import check_finite

logger = logging.getLogger(__name__)


def volume_from_nibabel(image: Any) -> Volume:
    """A nibabel image as a volume.

    Args:
        image: of two axes or more; those after i, j, k become channels.
    Returns:
        the volume, its channels called ``channel_0``, ...: the stored integer type, or float32 where the image is
        scaled or holds floating numbers; the affine in millimetres, whatever unit the header names.
    Raises:
        FormatError: the voxels cannot be read, are not one real number each, NaN or infinite.
        GeometryError: the affine is not finite, singular or absurd.
    """
    from nibabel.arrayproxy import ArrayProxy

    from medseg.io.nifti import to_real

    place = str(image.get_filename() or "")
    proxy = image.dataobj
    try:
        # Stored values and scaling apart, since nibabel's product would be in double precision.
        is_stored = isinstance(proxy, ArrayProxy)
        stored = np.asarray(proxy.get_unscaled() if is_stored else proxy)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = f"the image's voxels cannot be read: {error}"
        raise FormatError(reason, code="corrupt", file=place or None, remedy="Fetch it again") from None
    guard.check_type(stored.dtype, place)
    guard.check_shape(stored.shape, place)
    scale = (float(proxy.slope), float(proxy.inter)) if is_stored else (1.0, 0.0)
    i, j, k = (*stored.shape, 1, 1)[:3]
    channels = np.moveaxis(stored.reshape((i, j, k, -1), order="F"), 3, 0)
    array = to_real(channels, None if scale == (1.0, 0.0) else scale, place)
    geometry = guard.check_geometry(_place_nibabel(image, (i, j, k), place), place)
    return Volume(array, geometry, _name_channels(len(array)))


def _place_nibabel(image: Any, shape: tuple[int, int, int], place: str) -> Geometry:
    from nibabel.nifti1 import Nifti1Header

    from medseg.io.nifti_place import read_place

    header: Any = image.header
    affine = image.affine
    is_nifti = isinstance(header, Nifti1Header)  # NIfTI-2 is one too
    if is_nifti:
        if affine is None or np.allclose(affine, header.get_best_affine(), equal_nan=True):
            geometry, notes = read_place(header, shape, place)
            for note in notes:
                logger.warning("%s: %s", place or "an image", note)
            return geometry
        unit_mm = {"meter": 1000.0, "micron": 0.001}.get(header.get_xyzt_units()[0], 1.0)
        return Geometry(shape, np.diag([unit_mm] * 3 + [1.0]) @ np.asarray(affine, dtype=np.float64))
    if affine is None:
        return Geometry.from_spacing(shape, (*header.get_zooms(), 1.0, 1.0)[:3])
    return Geometry(shape, affine)


def volume_from_simpleitk(image: Any) -> Volume:
    """A SimpleITK image as a volume.

    Args:
        image: of two to four dimensions; components, and the volumes of a 4D image, become channels.
    Returns:
        the volume, (channel, i, j, k), its channels called ``channel_0``, ...: the image's integer type or float32;
        its grid turned from LPS to RAS+.
    Raises:
        FormatError: complex voxels, NaN or infinite ones.
        GeometryError: the direction or spacing is not finite, singular or absurd.
    """
    import SimpleITK

    from medseg.io.nrrd import order_axes, read_geometry

    values = SimpleITK.GetArrayFromImage(image)
    guard.check_type(values.dtype, "")
    array = order_axes(values, image.GetDimension(), image.GetNumberOfComponentsPerPixel())
    array = array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array
    check_finite(array, "")
    place = image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    geometry = guard.check_geometry(read_geometry(*place, array.shape[1:], ""), "")
    return Volume(array, geometry, _name_channels(len(array)))


def _name_channels(count: int) -> tuple[str, ...]:
    return tuple(f"channel_{number}" for number in range(count))
