"""The benchmark of augmentation: its patches, and both sides' clocks as far as their packages are here."""

import pytest
from benchmarks.augmentation_speed import WORKS
from benchmarks.augmentation_worker import ROTATION, clock_medseg, clock_nnunet, draw_patch

PATCH, READ = (8, 10, 12), (12, 14, 16)


def test_patches_are_alike_and_hold_both_labels() -> None:
    image, labels = draw_patch(READ)
    again, _ = draw_patch(READ)
    assert image.shape == (1, *READ)
    assert labels.shape == READ
    assert labels.unique().tolist() == [0, 1, 2]
    assert (image == again).all()


def test_medseg_is_clocked() -> None:
    assert clock_medseg(PATCH, *draw_patch(READ), 5, 0) > 0


def test_nnunet_is_clocked() -> None:
    pytest.importorskip("nnunetv2", reason="nnunetv2 (bench group) is not installed")
    assert clock_nnunet(PATCH, *draw_patch(READ), 5, 0) > 0


@pytest.mark.parametrize("work", WORKS)
def test_what_is_read_is_what_nnunet_reads(work) -> None:  # type: ignore[no-untyped-def]
    module = pytest.importorskip(
        "nnunetv2.training.data_augmentation.compute_initial_patch_size",
        reason="nnunetv2 (bench group) is not installed",
    )
    turns = [(-ROTATION, ROTATION)] * 3
    assert tuple(module.get_patch_size(work.patch, *turns, (0.85, 1.25)).tolist()) == work.read
