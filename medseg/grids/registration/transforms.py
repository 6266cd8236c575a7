"""Transforms as ITK has them, in memory and in files, and as 4x4 from the moving scan's world to the fixed scan's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import write_text
from medseg.core.errors import FormatError
from medseg.grids.registration.fields_of_view import Matrix

# ITK's physical space is LPS; the same the other way round.
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_transform(path: str | Path, matrix: Matrix) -> None:
    """Write a transform as ITK reads it (``.tfm``), for 3D Slicer, ITK-SNAP and SimpleITK.

    Args:
        path: the file, ending in ``.tfm``.
        matrix: 4x4, from the moving scan's world (RAS+) to the fixed scan's. The file holds its inverse in LPS, from
            points of the fixed scan to points of the moving one, as ITK resamples a moving image with.
    """
    transform = to_itk(matrix, "affine", np.zeros(3))
    # By hand: ITK's writer reports success on a full disk.
    lines = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        f"Transform: {transform.GetName()}_double_3_3",
        f"Parameters: {_list_numbers(transform.GetParameters())}",
        f"FixedParameters: {_list_numbers(transform.GetFixedParameters())}",
    ]
    write_text(path, "\n".join([*lines, ""]))


def _list_numbers(numbers: Sequence[float]) -> str:
    return " ".join(repr(float(number)) for number in numbers)


def read_transform(path: str | Path) -> Matrix:
    """A transform that ``write_transform`` or another program wrote.

    Args:
        path: a file that ITK reads, such as ``.tfm``.
    Returns:
        4x4, from the moving scan's world (RAS+) to the fixed scan's.
    Raises:
        FormatError: the file is missing or damaged, or its transform bends.
    """
    itk = load_itk()
    remedy = "Give a file of medseg measure --timeline, or an affine transform of another program"
    try:
        transform = itk.ReadTransform(str(path))
    except RuntimeError:
        reason = "no transform that ITK reads" if Path(path).is_file() else "the file does not exist"
        raise FormatError(reason, code="bad_transform", file=path, remedy=remedy) from None
    if not transform.IsLinear() or transform.GetDimension() != 3:
        raise FormatError("the transform is not affine in 3D", code="bad_transform", file=path, remedy=remedy)
    return to_matrix(transform)


def load_itk() -> Any:
    """SimpleITK, loaded where it is used alone, since it takes a third of a second; it has no types."""
    import SimpleITK

    return SimpleITK


def to_itk(matrix: Matrix, kind: Literal["rigid", "affine"], centre: NDArray[np.float64]) -> Any:
    """A motion as ITK has it, from the fixed scan's points to the moving one's, in LPS.

    Args:
        matrix: 4x4, from the moving scan's world (RAS+) to the fixed scan's.
        kind: ``rigid`` (the turn nearest to the matrix) or ``affine``.
        centre: the point about which ITK turns, LPS.
    Returns:
        a ``VersorRigid3DTransform`` or an ``AffineTransform``.
    """
    itk = load_itk()
    inverse = TO_LPS @ np.linalg.inv(matrix) @ TO_LPS
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


def to_matrix(transform: Any) -> Matrix:
    """The 4x4 from the moving scan's world (RAS+) to the fixed scan's, of a linear transform of ITK."""
    origin = np.asarray(transform.TransformPoint([0.0, 0.0, 0.0]))
    inverse = np.eye(4)
    inverse[:3, :3] = np.stack([np.asarray(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()], 1)
    inverse[:3, 3] = origin
    return np.asarray(np.linalg.inv(TO_LPS @ inverse @ TO_LPS))
