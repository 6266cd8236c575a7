"""How far the networks of an ensemble disagree: their own volumes, without changing the mask they give together."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.inference import Predictor, segment, stream_logits
from medseg.inference.member_volumes import PIECE_VOXELS, Counts, count_voxels
from tests.inference.examples import write_model
from tests.preprocessing.examples import CLASSES, REGIONS, make_scan

VOLUME, _ = make_scan()


def volume_of(mask: Segmentation, labels: LabelScheme, name: str) -> float:
    return float(labels.mask(mask.array, name).sum()) * mask.geometry.voxel_volume_ml


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
def test_each_network_s_volumes_are_those_of_its_own_mask(tmp_path: Path, labels: LabelScheme) -> None:
    # The scan is not resampled, so that the networks' grid is its own.
    write_model(tmp_path, folds=(0, 1, 2), labels=labels)
    together = Predictor.load(tmp_path, device="cpu").predict(VOLUME)
    assert list(together.member_volumes_ml) == list(labels.names)
    for number in range(3):
        alone = Predictor.load(tmp_path, folds=[number], device="cpu").predict(VOLUME)
        assert alone.member_volumes_ml == {}
        for name in labels.names:
            own = volume_of(alone.segmentation, labels, name)
            assert together.member_volumes_ml[name][number] == pytest.approx(own, rel=0.01, abs=1e-3)


def test_on_another_grid_they_are_those_of_the_scan_s_millimetres(tmp_path: Path) -> None:
    write_model(tmp_path)
    volume, _ = make_scan(shape=(15, 26, 12), spacing_mm=(1.3, 0.8, 2.0))
    together = Predictor.load(tmp_path, device="cpu").predict(volume)
    for number in (0, 1):
        alone = Predictor.load(tmp_path, folds=[number], device="cpu").predict(volume)
        for name in CLASSES.names:
            own = volume_of(alone.segmentation, CLASSES, name)
            assert together.member_volumes_ml[name][number] == pytest.approx(own, rel=0.1, abs=0.1)
    whole = sum(together.member_volumes_ml[name][0] for name in CLASSES.names)
    assert whole <= volume.geometry.voxel_volume_ml * volume.array[0].size


def test_several_models_are_all_counted(tmp_path: Path) -> None:
    write_model(tmp_path / "a", folds=(0, 1))
    write_model(tmp_path / "b", folds=(0,), dimensions=2)
    prediction = Predictor.load([tmp_path / "a", tmp_path / "b"], device="cpu").predict(VOLUME)
    assert {len(own) for own in prediction.member_volumes_ml.values()} == {3}


def test_the_mask_is_the_same_whether_they_are_counted_or_not(tmp_path: Path) -> None:
    write_model(tmp_path, folds=(0, 1, 2))
    predictor = Predictor.load(tmp_path, device="cpu")
    prepared = predictor.prepare(VOLUME)
    counted = predictor.segment(prepared, with_probabilities=True)
    mask, probabilities = segment.segment_scan(
        prepared, predictor.members, predictor.window, predictor.device, with_probabilities=True
    )
    assert np.array_equal(counted.segmentation.array, mask.array)
    assert counted.probabilities is not None
    assert probabilities is not None
    assert counted.probabilities.tobytes() == probabilities.tobytes()


@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 30, 9), (17, 9, 21)])
def test_every_voxel_of_the_scan_is_counted_once_and_padding_never(shape: tuple[int, int, int]) -> None:
    image = torch.randn((1, *shape), generator=torch.Generator().manual_seed(1)).sign()
    counts: Counts = {}

    def answer(windows: torch.Tensor) -> torch.Tensor:
        return torch.cat([windows, torch.zeros_like(windows), -windows], 1)

    look = partial(count_voxels, counts, CLASSES)
    list(stream_logits([answer, lambda windows: -answer(windows)], image, (8, 8, 8), 3, look=look))
    positive = int((image > 0).sum())
    assert counts[0].tolist() == [positive, 0, image.numel() - positive, 0]
    assert counts[1].tolist() == [image.numel() - positive, 0, positive, 0]


def test_blocks_of_any_size_are_counted_in_pieces() -> None:
    logits = torch.randn((3, 40, 130, 129), generator=torch.Generator().manual_seed(2)).half()
    assert logits[0].numel() > PIECE_VOXELS
    counts: Counts = {}
    count_voxels(counts, CLASSES, 0, logits)
    assert counts[0].tolist() == [*torch.bincount(logits.float().argmax(0).flatten(), minlength=3).tolist(), 0]


def test_regions_are_painted_in_order() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]).reshape(2, 4, 1, 1)
    counts: Counts = {}
    count_voxels(counts, REGIONS, 0, logits)
    assert counts[0].tolist() == [1, 2, 1]  # the second region is painted over the first


def test_a_network_alone_has_no_spread(tmp_path: Path) -> None:
    write_model(tmp_path, folds=(0,))
    predictor = Predictor.load(tmp_path, device="cpu")
    assert predictor.predict(VOLUME).member_volumes_ml == {}
    assert replace(predictor, members=predictor.members * 2).predict(VOLUME).member_volumes_ml != {}
