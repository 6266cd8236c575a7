"""A scan gives the same network input however its file is laid out, and its mask comes back to the file's layout."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.plan import Plan
from medseg.core.volume import Segmentation, Volume
from medseg.planning import make_plan
from medseg.preprocessing import prepare_case, restore_segmentation
from tests.planning.fingerprints import make_fingerprint

LABELS = LabelScheme.make({"organ": 1, "tumour": 2})


def make_scan() -> tuple[Volume, Segmentation]:
    rng = np.random.default_rng(3)
    affine = np.array([[-1.0, 0.05, 0, 30], [0.05, -1.0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])
    geometry = Geometry((20, 24, 12), affine)  # LPS
    image = rng.integers(-1000, 400, (1, 20, 24, 12)).astype(np.int16)
    return Volume(image, geometry, ("CT",)), Segmentation(rng.integers(0, 3, (20, 24, 12)).astype(np.uint8), geometry)


def relay(array: np.ndarray, geometry: Geometry, order: tuple[int, ...], flips: tuple[bool, ...]):
    """The same voxels stored with other axes."""
    turned = array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[old, new] = -1 if flip else 1
        matrix[old, 3] = geometry.shape[old] - 1 if flip else 0
    return turned.copy(), Geometry(turned.shape, geometry.affine @ matrix)


def make_oriented_plan(spacing_mm: tuple[float, float, float]) -> Plan:
    fingerprint = make_fingerprint([(20, 24, 12)] * 2, [spacing_mm] * 2)
    cases = tuple(case.model_copy(update={"orientation": "LPS"}) for case in fingerprint.cases)
    return make_plan(fingerprint.model_copy(update={"cases": cases}), preset="cpu")


@pytest.mark.parametrize("spacing_mm", [(1.00125, 1.00125, 2.5), (1.5, 1.5, 2.0)], ids=["own", "resampled"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_48_layouts_give_one_input_and_masks_come_back(order, spacing_mm) -> None:
    plan = make_oriented_plan(spacing_mm)
    configuration = plan.configuration("3d_fullres")
    volume, segmentation = make_scan()
    expected = prepare_case(volume, segmentation, plan, configuration)
    for flips in product((False, True), repeat=3):
        image, geometry = relay(volume.array[0], volume.geometry, order, flips)
        mask, _ = relay(segmentation.array, volume.geometry, order, flips)
        prepared = prepare_case(
            Volume(image[None], geometry, ("CT",)), Segmentation(mask, geometry), plan, configuration
        )
        np.testing.assert_allclose(prepared.image, expected.image, atol=1e-5)
        assert prepared.reference is not None
        assert np.mean(prepared.reference != expected.reference) < 1e-3
        if not prepared.grid.is_resampled:
            logits = torch.from_numpy((prepared.reference == np.arange(3)[:, None, None, None]).astype(np.float32))
            restored = restore_segmentation(logits, prepared.grid, LABELS)
            np.testing.assert_array_equal(restored.array, mask)
            np.testing.assert_allclose(restored.geometry.affine, geometry.affine)
