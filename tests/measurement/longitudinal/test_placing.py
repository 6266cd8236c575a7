"""Which scans are taken as aligned, which are registered, and what is said where neither is certain."""

from __future__ import annotations

import numpy as np

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.measurement.longitudinal.placing import PatientScan, place_scan
from tests.phantoms import head_image, lesions, motion, oblique_geometry, still_geometry

LABELS = LabelScheme.make({"tumour": 1})
GRID = oblique_geometry((64, 72, 40), (2, 2, 3), (0, 0, 0), (0, 0, 0))
OTHER = oblique_geometry((70, 70, 44), (1.9, 2.1, 2.8), (2, 0, 3), (3, -2, 1))
A, B, C, D = (26, 22, -8), (-30, 16, 14), (-14, -40, -4), (10, 40, 20)
MOVED = motion((5, -4, 12), (9, -12, 5))


def make(spots, geometry=GRID, moved=None, with_image=False, seed=0):
    still = still_geometry(geometry, np.eye(4) if moved is None else moved)
    mask = lesions(still, spots)
    image = Volume(head_image(still, mask, seed)[None], geometry, ("MR",))
    return PatientScan(Segmentation(mask.astype(np.uint8), geometry), (lambda: image) if with_image else None)


def error_mm(placement, moved):
    points = np.array([A, B, C, D], float)
    whole = placement.matrix @ moved
    return np.linalg.norm(points @ whole[:3, :3].T + whole[:3, 3] - points, axis=1).max()


def test_aligned_scans_of_one_grid_are_left_and_their_images_not_read():
    def refuse():
        raise AssertionError("nothing needs the image")

    first = make([(A, 8), (B, 6), (C, 5)])
    later = make([(A, 9), (B, 4), (D, 5)])
    placement = place_scan(PatientScan(first.mask, refuse), PatientScan(later.mask, refuse), LABELS)
    assert (placement.method, placement.warnings) == ("same_grid", ())
    assert (placement.matrix == np.eye(4)).all()


def test_one_lesion_that_went_and_one_that_came_are_not_laid_over_one_another():
    placement = place_scan(make([(A, 7)]), make([(B, 7)]), LABELS)
    assert (placement.method, placement.registration) == ("same_grid", None)
    assert "too few lesions" in placement.reason
    assert "taken as aligned" in placement.warnings[0]
    # Images tell that the patient has not moved.
    placement = place_scan(make([(A, 7)], with_image=True), make([(B, 7)], with_image=True, seed=1), LABELS)
    assert placement.method == "same_grid"
    assert placement.warnings


def test_patient_who_moved_on_one_grid_is_registered():
    spots = [(A, 8), (B, 7), (C, 6), (D, 5)]
    for with_image in (False, True):
        first = make(spots, with_image=with_image)
        placement = place_scan(first, make(spots, moved=MOVED, with_image=with_image, seed=1), LABELS)
        assert placement.method == ("images" if with_image else "masks")
        assert error_mm(placement, MOVED) < 1.5
        assert placement.warnings == ()


def test_other_grids_are_registered_by_images_and_by_patterns_of_lesions():
    spots = [(A, 8), (B, 7), (C, 6), (D, 5)]
    for with_image in (False, True):
        first = make(spots, with_image=with_image)
        placement = place_scan(first, make(spots, OTHER, MOVED, with_image=with_image, seed=1), LABELS)
        assert placement.method == ("images" if with_image else "masks")
        assert error_mm(placement, MOVED) < 1.5


def test_few_lesions_on_other_grids():
    # Where they lie over one another in world space nothing is moved; else a lesion is followed, but it is said.
    placement = place_scan(make([(A, 8), (B, 6)]), make([(A, 9), (D, 6)], OTHER), LABELS)
    assert (placement.method, placement.warnings) == ("not_registered", ())
    placement = place_scan(make([(A, 8)]), make([(A, 8)], OTHER, motion((0, 0, 0), (25, 0, 0))), LABELS)
    assert placement.method == "masks"
    assert "fewer than 3 lesions" in placement.warnings[0]


def test_masks_that_are_empty_on_other_grids():
    placement = place_scan(make([]), make([(A, 8)], OTHER), LABELS)
    assert placement.method == "not_registered"
    assert "constant" in placement.reason
    assert placement.warnings
    placement = place_scan(make([]), make([(A, 8)]), LABELS)
    assert (placement.method, placement.warnings) == ("same_grid", ())


def test_slices_on_other_grids_are_not_registered():
    flat, finer = (Geometry.from_spacing((n, n, 1), (50 / n, 50 / n, 1)) for n in (50, 80))
    masks = [np.zeros(geometry.shape, np.uint8) for geometry in (flat, finer)]
    masks[0][10:20, 10:20], masks[1][60:70, 60:70] = 1, 1
    scans = [PatientScan(Segmentation(m, g), None) for m, g in zip(masks, (flat, finer), strict=True)]
    placement = place_scan(*scans, LABELS)
    assert placement.method == "not_registered"
    assert "too thin" in placement.reason
