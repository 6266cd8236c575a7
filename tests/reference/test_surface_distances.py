"""Surface distances against the surface-distance package, which first published their definition."""

import numpy as np
import pytest

from medseg.evaluation import surface
from medseg.shapes.surface_table import CORNERS, tabulate_areas
from medseg.shapes.surfaces import measure_surface_distances

peer = pytest.importorskip("surface_distance", reason="the package surface-distance (group bench) is not installed")
lookup_tables = pytest.importorskip("surface_distance.lookup_tables")

# The package uses names of scipy that are on their way out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _names_that_numpy_dropped(monkeypatch):
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)
    monkeypatch.setattr(np, "NaN", np.nan, raising=False)


def sort_elements(distances, areas):
    order = np.lexsort((areas, distances.round(9)))
    return distances[order], areas[order]


def assert_equal_to_peer(a, b, spacing):
    flat = next((axis for axis in (2, 1, 0) if a.shape[axis] == 1), None)
    if flat is None:
        expected = peer.compute_surface_distances(a, b, spacing)
    else:
        plane = [value for axis, value in enumerate(spacing) if axis != flat]
        expected = peer.compute_surface_distances(a.squeeze(flat), b.squeeze(flat), plane)
    found = measure_surface_distances(a, b, spacing)
    for distances, areas, way, who in (
        (found.a_to_b_mm, found.a_areas, "distances_gt_to_pred", "surfel_areas_gt"),
        (found.b_to_a_mm, found.b_areas, "distances_pred_to_gt", "surfel_areas_pred"),
    ):
        ours, theirs = sort_elements(distances, areas), sort_elements(expected[way], expected[who])
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(ours[1].sum(), theirs[1].sum(), rtol=1e-9)
        np.testing.assert_allclose(np.sort(ours[1]), np.sort(theirs[1]), rtol=1e-9)
    if found.a_areas.size and found.b_areas.size:
        assert_metrics_equal_to_peer(found, expected)


def assert_metrics_equal_to_peer(found, expected):
    means = peer.compute_average_surface_distance(expected)
    assert surface.measure_hd(found) == pytest.approx(peer.compute_robust_hausdorff(expected, 100))
    assert surface.measure_hd95(found) == pytest.approx(peer.compute_robust_hausdorff(expected, 95))
    assert surface.measure_masd(found) == pytest.approx(sum(means) / 2)
    areas = expected["surfel_areas_gt"].sum(), expected["surfel_areas_pred"].sum()
    assert surface.measure_assd(found) == pytest.approx((means[0] * areas[0] + means[1] * areas[1]) / sum(areas))
    for tolerance in (0.5, 1.0, 3.0):
        surface_dice = peer.compute_surface_dice_at_tolerance(expected, tolerance)
        assert surface.measure_nsd(found, tolerance) == pytest.approx(surface_dice)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.7, 5.0), (1.0, 2.0, 3.3)])
def test_areas_of_all_256_codes(spacing):
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    bits = [int(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL[corner]) for corner in CORNERS]
    codes = [sum(value for bit, value in enumerate(bits) if code >> bit & 1) for code in range(256)]
    assert sorted(codes) == list(range(256))
    np.testing.assert_allclose(tabulate_areas(spacing), theirs[codes], rtol=1e-12)


@pytest.mark.parametrize("seed", range(100))
def test_random_masks(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 14, 3)
    if seed % 5 == 0:
        shape[rng.integers(3)] = 1
    a, b = (rng.random(shape) < rng.choice([0.01, 0.2, 0.6, 0.99]) for _ in range(2))
    if seed % 7 == 0:
        a = np.zeros(shape, bool)
        a.flat[rng.integers(a.size)] = True
    assert_equal_to_peer(a, b, rng.uniform(0.3, 6.0, 3).tolist())


def test_single_voxels_far_apart():
    a, b = np.zeros((40, 50, 30), bool), np.zeros((40, 50, 30), bool)
    a[0, 0, 0] = b[39, 49, 29] = True
    assert_equal_to_peer(a, b, (1.0, 1.0, 2.5))


def test_organs_of_realistic_size():
    i, j, k = np.indices((60, 70, 40))
    a = ((i - 30) / 24) ** 2 + ((j - 35) / 30) ** 2 + ((k - 20) / 15) ** 2 < 1
    b = ((i - 32) / 22) ** 2 + ((j - 33) / 31) ** 2 + ((k - 22) / 14) ** 2 < 1
    assert_equal_to_peer(a, b, (0.8, 0.8, 2.5))
