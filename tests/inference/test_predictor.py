"""Masks of single scans with a loaded model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.core.errors import DatasetError, FormatError, ModelError, PlanError
from medseg.core.geometry import Geometry
from medseg.core.model import Rule
from medseg.core.volume import Segmentation, Volume
from medseg.inference import Predictor, as_forward, average_forwards, predict_case
from medseg.io import read_image, write_volume
from medseg.networks import build_network
from medseg.postprocessing import apply_rules
from tests.inference.examples import write_model
from tests.preprocessing.examples import REGIONS, make_scan

VOLUME, _ = make_scan()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    write_model(path)
    return path


def load(folder: Path | list[Path], **options: Any) -> Predictor:
    return Predictor.load(folder, device="cpu", **options)


def same(a: Segmentation, b: Segmentation) -> bool:
    return np.array_equal(a.array, b.array) and a.geometry.same_grid(b.geometry)


def test_volume_file_and_array_give_the_same_mask(folder: Path, tmp_path: Path) -> None:
    predictor = load(folder)
    straight = Volume(VOLUME.array, Geometry.from_spacing(VOLUME.geometry.shape, (1.0, 1.0, 1.0)), ("c0",))
    write_volume(tmp_path / "scan.nii.gz", straight)
    expected = predictor.predict(straight).segmentation
    assert same(predictor.predict(tmp_path / "scan.nii.gz").segmentation, expected)
    assert same(predictor.predict([tmp_path / "scan.nii.gz"]).segmentation, expected)
    assert same(predictor.predict(str(tmp_path / "scan.nii.gz")).segmentation, expected)
    assert same(predictor.predict(VOLUME.array, spacing_mm=(1.0, 1.0, 1.0)).segmentation, expected)
    assert set(np.unique(expected.array)) <= {0, 1, 3}


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_mask_lies_on_the_scan_s_own_grid(tmp_path: Path, dimensions: int) -> None:
    write_model(tmp_path, dimensions=dimensions, channels=2)
    volume, _ = make_scan(shape=(15, 26, 9), spacing_mm=(1.3, 0.8, 2.5), channels=2)
    mask = load(tmp_path).predict(volume).segmentation
    assert mask.geometry.same_grid(volume.geometry)
    assert mask.array.any()


def test_folds_are_averaged_as_logits(folder: Path) -> None:
    both = load(folder)
    (member,) = both.members
    assert member.folds == (0, 1)
    networks = [build_network(member.configuration, 1, 3, seed=seed) for seed in (0, 1)]
    mean = average_forwards([as_forward(network, 3) for network in networks])
    expected = predict_case(VOLUME, [replace(member, forwards=(mean,))], both.window, CPU, with_probabilities=True)
    prediction = both.predict(VOLUME, with_probabilities=True)
    assert expected[1] is not None
    assert prediction.probabilities is not None
    # Sums are halves, coarse at the corners, which only a window's rim sees.
    assert (np.abs(prediction.probabilities - expected[1]) < 1e-2).mean() > 0.99
    alone = load(folder, folds=[1])
    assert alone.members[0].folds == (1,)
    only = predict_case(VOLUME, [replace(member, forwards=(as_forward(networks[1], 3),))], both.window, CPU)[0]
    assert (alone.predict(VOLUME).segmentation.array == only.array).mean() > 0.999
    assert not same(alone.predict(VOLUME).segmentation, prediction.segmentation)


def test_models_are_averaged_as_probabilities(folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "other", dimensions=2)
    both = load([folder, tmp_path / "other"])
    each = [load(path).predict(VOLUME, with_probabilities=True).probabilities for path in (folder, tmp_path / "other")]
    assert each[0] is not None
    assert each[1] is not None
    mean = (each[0] + each[1]) / 2
    prediction = both.predict(VOLUME, with_probabilities=True)
    assert prediction.probabilities is not None
    np.testing.assert_allclose(prediction.probabilities, mean, atol=1e-5)
    assert np.array_equal(np.array([0, 1, 3])[prediction.probabilities.argmax(0)], prediction.segmentation.array)
    assert same(prediction.segmentation, both.predict(VOLUME).segmentation)
    assert both.digest == "+".join(model.digest for model in both.models)


def test_models_of_other_channels_are_not_averaged(folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "other", channels=2)
    with pytest.raises(ModelError, match="reads the channels c0, c1"):
        load([folder, tmp_path / "other"])


def test_probabilities_add_up_to_one_and_agree_with_the_mask(folder: Path) -> None:
    prediction = load(folder).predict(VOLUME, with_probabilities=True)
    assert prediction.probabilities is not None
    assert prediction.probabilities.shape == (3, *VOLUME.geometry.shape)
    assert prediction.probabilities.dtype == np.float32
    np.testing.assert_allclose(prediction.probabilities.sum(0), 1.0, atol=1e-5)
    values = np.array([0, 1, 3])[prediction.probabilities.argmax(0)]
    assert np.array_equal(values, prediction.segmentation.array)
    assert load(folder).predict(VOLUME).probabilities is None


def test_regions_have_a_probability_each(tmp_path: Path) -> None:
    write_model(tmp_path, labels=REGIONS)
    prediction = load(tmp_path).predict(VOLUME, with_probabilities=True)
    assert prediction.probabilities is not None
    assert prediction.probabilities.shape[0] == 2
    whole, core = prediction.probabilities > 0.5
    assert np.array_equal(prediction.segmentation.array == 2, core)
    assert np.array_equal(prediction.segmentation.array == 1, whole & ~core)


def test_rules_of_the_model_are_applied(folder: Path, tmp_path: Path) -> None:
    rules = [Rule(label="organ", keep_largest=True), Rule(label="tumour", minimum_ml=0.05)]
    plan, _ = write_model(tmp_path, postprocessing=rules)
    plain = load(folder).predict(VOLUME).segmentation
    ruled = load(tmp_path).predict(VOLUME).segmentation
    assert not same(plain, ruled)
    assert same(ruled, apply_rules(plain, plan.labels, rules))


def test_settings_change_the_windows(folder: Path) -> None:
    assert load(folder, mirroring=False).members[0].mirror_axes == ()
    assert load(folder).members[0].mirror_axes == (0, 1, 2)
    assert load(folder, overlap=0.25).window.overlap == 0.25
    plain = load(folder, mirroring=False, overlap=0.0, folds=[0])
    assert plain.provenance == {
        "model": plain.model.digest,
        "configuration": "3d_fullres",
        "folds": "0",
        "engine": "torch",
        "precision": "exact",
        "overlap": "0.0",
        "mirror_axes": "none",
    }
    assert plain.predict(VOLUME).provenance == plain.provenance


def test_predicting_twice_gives_the_same_mask(folder: Path) -> None:
    predictor = load(folder)
    before = VOLUME.array.copy()
    assert same(predictor.predict(VOLUME).segmentation, predictor.predict(VOLUME).segmentation)
    assert np.array_equal(VOLUME.array, before)


def test_lower_precision_gives_nearly_the_same_mask(folder: Path) -> None:
    exact, lower = load(folder).predict(VOLUME), load(folder, precision="bf16").predict(VOLUME)
    assert (exact.segmentation.array == lower.segmentation.array).mean() > 0.9


@pytest.mark.parametrize(("folds", "named"), [([2], "2"), ([0, 7, "all"], "7.*all"), ([], "no fold")])
def test_folds_that_are_not_there_are_refused(folder: Path, folds: list[int | str], named: str) -> None:
    with pytest.raises(ModelError, match=named) as caught:
        load(folder, folds=folds)
    assert caught.value.remedy == "It has: 0, 1"


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 2.0, float("nan")])
def test_an_overlap_out_of_range_is_refused(folder: Path, overlap: float) -> None:
    with pytest.raises(PlanError, match="overlap"):
        load(folder, overlap=overlap)


def test_a_scan_with_other_channels_is_refused(folder: Path, tmp_path: Path) -> None:
    volume, _ = make_scan(channels=2)
    with pytest.raises(DatasetError, match="2 channels, expected 1"):
        load(folder).predict(volume)
    paths = [tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"]
    for path in paths:
        write_volume(path, VOLUME)
    with pytest.raises(DatasetError, match="2 channels, expected 1"):
        load(folder).predict(paths)


def test_a_damaged_file_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no scan")
    with pytest.raises(FormatError) as caught:
        load(folder).predict(tmp_path / "a.nii.gz")
    assert caught.value.file == str(tmp_path / "a.nii.gz")


def test_an_empty_scan_gives_a_mask(folder: Path) -> None:
    empty = Volume(np.zeros((1, 9, 5, 7), np.int16), Geometry.from_spacing((9, 5, 7), (1.0, 1.0, 1.0)), ("c0",))
    assert load(folder).predict(empty).segmentation.array.shape == (9, 5, 7)


def test_file_channels_are_in_the_plan_s_order(tmp_path: Path) -> None:
    write_model(tmp_path / "model", channels=2)
    volume, _ = make_scan(channels=2)
    paths = []
    for number in range(2):
        paths.append(tmp_path / f"a_{number:04d}.nii.gz")
        write_volume(paths[-1], Volume(volume.array[number : number + 1], volume.geometry, (f"c{number}",)))
    predictor = load(tmp_path / "model")
    again = Volume(volume.array, read_image(paths[0]).geometry, volume.channels)
    assert same(predictor.predict(paths).segmentation, predictor.predict(again).segmentation)
