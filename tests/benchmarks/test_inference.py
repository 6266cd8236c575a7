"""What the benchmark of prediction is built of: comparing masks, watching memory, drawing scans."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from benchmarks.contestants import Taken, add_up, compare, measure_command
from benchmarks.masks import count_differing, score_folder
from benchmarks.nnunet_recipes import RECIPES, Recipe
from benchmarks.peak_memory import list_tree, measure_tree


def write_mask(folder: Path, values: list[int], shift_mm: float = 0.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.eye(4)
    affine[0, 3] = shift_mm
    nibabel.save(nibabel.Nifti1Image(np.array(values, np.uint8).reshape(2, 2, 2), affine), folder / "case.nii.gz")


def test_differing_voxels_are_counted(tmp_path: Path) -> None:
    write_mask(tmp_path / "a", [0, 0, 1, 1, 2, 2, 2, 2])
    write_mask(tmp_path / "b", [0, 0, 1, 2, 2, 2, 2, 0])
    assert count_differing(tmp_path / "a", tmp_path / "b") == (2, 8, 1)
    assert count_differing(tmp_path / "a", tmp_path / "a") == (0, 8, 1)


def test_a_mask_elsewhere_differs_everywhere(tmp_path: Path) -> None:
    write_mask(tmp_path / "a", [0] * 8)
    write_mask(tmp_path / "b", [0] * 8, shift_mm=1.0)
    assert count_differing(tmp_path / "a", tmp_path / "b") == (8, 8, 1)


def test_missing_masks_end_the_benchmark(tmp_path: Path) -> None:
    write_mask(tmp_path / "a", [0] * 8)
    with pytest.raises(SystemExit, match="other cases"):
        count_differing(tmp_path / "a", tmp_path / "b")


def test_score_is_the_mean_over_labels(tmp_path: Path) -> None:
    write_mask(tmp_path / "a", [0, 0, 1, 1, 2, 2, 2, 2])
    write_mask(tmp_path / "b", [0, 0, 1, 0, 2, 2, 2, 2])
    assert score_folder(tmp_path / "a", tmp_path / "b") == [pytest.approx((2 / 3 + 1) / 2)]


def test_ratios_are_ours_to_theirs() -> None:
    ratios = compare([Taken(1, 2, 1)], [Taken(4, 2, 2)])
    assert ratios == {"wall_s": [0.25], "cpu_s": [1.0], "peak_gb": [0.5]}


def test_a_round_adds_times_and_keeps_the_peak() -> None:
    assert add_up([Taken(1, 2, 3), Taken(4, 5, 1)]) == Taken(5, 7, 3)


@pytest.mark.skipif(not Path("/proc/thread-self/children").exists(), reason="/proc does not list children here")
def test_memory_of_grandchildren_counts() -> None:
    hold = "import time; held = bytearray(300_000_000); held[::4096] = b'x' * len(held[::4096]); time.sleep(0.5)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    older = "import sys; held = bytearray(200_000_000); held[::4096] = b'x' * len(held[::4096]); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", older], stdin=subprocess.PIPE) as child:
        while measure_tree(child.pid, with_root=True) < 0.2:
            time.sleep(0.01)
        taken = measure_command([sys.executable, "-c", outer])
        child.communicate()
    assert 0.3 < taken.peak_gb < 0.45
    assert taken.wall_s > 0.5


@pytest.mark.skipif(not Path("/proc/thread-self/children").exists(), reason="/proc does not list children here")
def test_tree_begins_with_its_root() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert list_tree(os.getpid())[0] == os.getpid()
        assert child.pid in list_tree(os.getpid())
        child.communicate(b"\n")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_scans_are_drawn_as_nnunet_wants_them(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "benchmarks"))
    import nnunet_phantoms

    nnunet_phantoms.write_raw_folder(recipe, tmp_path)
    described = json.loads((tmp_path / "dataset.json").read_text("utf-8"))
    training = {path.name.removesuffix(recipe.ending) for path in (tmp_path / "labelsTr").iterdir()}
    assert described["numTraining"] == len(training) >= 5  # nnU-Net's split has five folds
    files = 1 if recipe.ending == ".png" else len(recipe.channels)
    images = {f"{name}_{channel:04}{recipe.ending}" for name in training for channel in range(files)}
    assert {path.name for path in (tmp_path / "imagesTr").iterdir()} == images
    image, labels = nnunet_phantoms.draw_scan(recipe, (24, 20, 1 if files < len(recipe.channels) else 22), seed=3)
    known = {value for entry in recipe.labels.values() for value in (entry if isinstance(entry, list) else [entry])}
    assert set(np.unique(labels)) == known
    assert (len(image), image.shape[1:]) == (len(recipe.channels), labels.shape)
    assert bool((image == 0).all(axis=0).mean() > 0.2) == recipe.zero_outside
