"""DICOM trees of the corpus through the commands: bad series among good ones, which must not notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.core.records import read_json
from tests.bad_inputs import DICOM_REFERENCES, DICOM_TREES
from tests.corpus.dicom_references import RULES, Reference, write_patient, write_reference
from tests.end_to_end.command_line import medseg
from tests.inference.examples import write_model
from tests.io.dicom_series import in_study, pile, write

GOOD = tuple(f"good {number:02}" for number in range(20))
PLAIN = {name: tree for name, tree in DICOM_TREES.items() if not tree.options}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt nothing; its channel's name means any modality."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, folds=(0,))
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every tree of the corpus beside twenty sound series."""
    root = tmp_path_factory.mktemp("mixed")
    for name, tree in PLAIN.items():
        with in_study(name):
            tree.make(root / name)
    write_good(root)
    return root


def write_good(root: Path) -> None:
    for number, name in enumerate(GOOD):
        with in_study(name):
            write(root / name, pile(offset=3.0 * number, header={"PatientID": name, "PatientName": f"Secret^{number}"}))


def count_files(root: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(root))


def run(*words: str | Path) -> tuple[int, str]:
    """A command in a process of its own: how it ends, and all that stands on the screen then."""
    command = [sys.executable, "-m", "medseg", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def sort_cases(output: Path, root: Path) -> dict[str, list[dict[str, Any]]]:
    """The outcomes that ``run.json`` holds, by the folder of the tree that they come from."""
    found = defaultdict(list)
    for case in read_json(output / "run.json")["cases"]:
        found[Path(case["inputs"][0]).relative_to(root).parts[0]].append(case)
    return found


def test_bad_series_among_twenty_good_ones(model: Path, mixed: Path, tmp_path: Path) -> None:
    write_good(tmp_path / "clean")
    options = ["--model", model, "--device", "cpu", "--no-mirroring"]
    assert medseg("predict", tmp_path / "clean", tmp_path / "a", *options).code == 0
    code, screen = run("predict", mixed, tmp_path / "b", *options)
    assert code == 3, screen
    assert not any(word in screen for word in ("Traceback", "Warning", "Error:", "Secret", "Muster"))
    masks = {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.nii.gz")}
    assert len(masks) == len(GOOD)
    assert all((tmp_path / "b" / name).read_bytes() == content for name, content in masks.items())
    found = sort_cases(tmp_path / "b", mixed)
    for name, tree in PLAIN.items():
        outcomes = found.pop(name, [])
        refused = [case for case in outcomes if case["status"] == "refused"]
        assert tuple(sorted(case["code"] for case in refused)) == tree.codes, name
        assert all(case["reason"] and case["remedy"] and not case["outputs"] for case in refused)
        lines = [line for line in screen.splitlines() for case in refused if line.startswith(f"{case['case']}, ")]
        assert len(lines) == len(refused), (name, lines)
        drawn = [mask for case in outcomes for mask in case["outputs"]]
        assert sorted(nib.load(tmp_path / "b" / mask).shape[2] for mask in drawn) == sorted(tree.counts), name
    assert found.keys() == set(GOOD)
    (tally,) = read_json(tmp_path / "b" / "run.json")["dicom"]
    assert tally["files"] == tally["used"] + sum(entry["files"] for entry in tally["unused"]) == count_files(mixed)


@pytest.mark.parametrize("name", [name for name, tree in DICOM_TREES.items() if tree.options])
def test_trees_that_need_an_option(name: str, model: Path, tmp_path: Path) -> None:
    tree = DICOM_TREES[name]
    tree.make(tmp_path / "tree")
    options = [word for option, value in tree.options.items() for word in (f"--{option}", value)]
    words = ["--model", model, "--device", "cpu", "--no-mirroring", *options]
    ended = medseg("predict", tmp_path / "tree", tmp_path / "out", *words)
    assert ended.code == (0 if tree.counts else 2)
    depths = [nib.load(path).shape[2] for path in (tmp_path / "out").glob("*.nii.gz")]
    assert tuple(sorted(depths)) == tree.counts
    cases = read_json(tmp_path / "out" / "run.json")["cases"]
    assert tuple(case["code"] for case in cases if case["status"] == "refused") == tree.codes


def test_check_names_every_bad_series(mixed: Path) -> None:
    """All that headers tell; what pixels tell is found when they are read."""
    ended = medseg("check", mixed)
    assert ended.code == 3
    said = "\n".join([ended.output, *ended.lines])
    assert not any(word in said for word in ("Traceback", "Secret", "Muster"))
    by_headers = Counter(code for tree in PLAIN.values() for code in tree.codes if code not in BY_PIXELS)
    for code, count in by_headers.items():
        assert sum(f", {code}, " in line for line in ended.lines) >= count, code
    assert f"{count_files(mixed)} files" in ended.output


# Codes of faults that no header shows.
BY_PIXELS = {"bad_scale", "bad_data_type", "wrong_size", "constant_image", "not_finite", "corrupt", "mixed_scale",
             "gap_too_wide"}  # fmt: skip


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in DICOM_REFERENCES])
def test_each_reference_is_handled_as_it_says(entry: Reference, tmp_path: Path) -> None:
    """Beside a sound case, which is made all the same."""
    sound = write_patient(tmp_path / "tree" / "a", "sound", entry.file)
    drawn = write_reference(tmp_path / "tree" / "b", entry)
    (tmp_path / "rois.json").write_text(json.dumps(RULES), "utf-8")
    ended = medseg("import-dicom", tmp_path / "tree", tmp_path / "out", "--labels", tmp_path / "rois.json")
    assert ended.code == (3 if entry.codes else 0), ended.output
    assert "Traceback" not in ended.output
    expected = np.array([0, 2, 1], np.uint8)
    first = nib.load(tmp_path / "out" / "masks" / "p001_1.nii.gz")
    np.testing.assert_array_equal(np.asarray(first.dataobj), expected[sound])
    cases = [case for case in read_json(tmp_path / "out" / "run.json")["cases"] if case["case"] != "p001_1"]
    assert {case["code"] for case in cases if case["status"] != "done"} == set(entry.codes)
    assert all(case["reason"] and case["remedy"] and case["inputs"] for case in cases if case["status"] != "done")
    said = "\n".join([ended.output, *ended.lines, *(case["reason"] for case in cases)])
    assert entry.says in said
    assert "\\x1b" not in said
    mask = tmp_path / "out" / "masks" / "p002_1.nii.gz"
    assert mask.exists() == any(case["status"] == "done" for case in cases)
    if entry.same:
        np.testing.assert_array_equal(np.asarray(nib.load(mask).dataobj), expected[drawn])
