"""Bad and unusual data sets through ``medseg check``: each fault one line, the sound cases go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.core.errors import show_name
from medseg.core.results import Measurement, read_rows
from tests.corpus.data_set import DataSet, change_file, write_sound
from tests.corpus.data_sets import DATA_SETS
from tests.end_to_end.command_line import Ended, medseg


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound")
    write_sound(root)
    return root


def lines_about(ended: Ended, case: str) -> list[str]:
    return [line for line in ended.lines if line.startswith(f"{show_name(case)}, " if case else "/")]


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in DATA_SETS])
def test_each_data_set_is_handled_as_it_says(entry: DataSet, sound: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "data"))
    entry.build(root)
    ended = medseg("check", root / entry.opened, *entry.words)
    said = "\n".join([*ended.lines, ended.output])
    assert ended.code == (entry.ends if entry.ends is not None else 3 if entry.refused else 0), said
    for case, code in {**entry.refused, **entry.doubted}.items():
        lines = lines_about(ended, case)
        assert len(lines) == 1, said
        assert f" {code}, " in lines[0], said
        assert lines[0].count(", ") >= 3, "case, file, code, reason and remedy"
    for text in entry.says:
        assert text in said, said
    if entry.cases is not None:
        assert f"{entry.cases} cases can be used, {len(entry.refused)} problems" in ended.output, said
    assert "Traceback" not in said


def test_names_are_one_each() -> None:
    assert len({entry.name for entry in DATA_SETS}) == len(DATA_SETS) >= 45


def test_no_name_leads_out_of_the_workspace(sound: Path, tmp_path: Path) -> None:
    """What a list calls a case never becomes a path: nothing is written but below the workspace."""
    evil = next(entry for entry in DATA_SETS if entry.name == "listed_name_leads_out")
    root = Path(shutil.copytree(sound, tmp_path / "a" / "b" / "data"))
    evil.build(root)
    space = tmp_path / "a" / "b" / "space"
    before = {path for path in tmp_path.rglob("*") if space not in path.parents}
    assert medseg("plan", root, "--workspace", space, "--preset", "cpu").code == 3
    assert medseg("preprocess", "--workspace", space, "--configuration", "2d").code == 0
    assert {path for path in tmp_path.rglob("*") if space not in path.parents} == before | {space}


def test_two_masks_of_a_case_cost_that_case_alone(sound: Path, tmp_path: Path) -> None:
    """Evaluating and measuring go on without it; and predictions that are their own references are told."""
    root = Path(shutil.copytree(sound, tmp_path / "data"))
    shutil.copytree(root / "masks", root / "found")
    change_file(root / "found" / "good_2.nii.gz", target=root / "found" / "good_2.nii")
    words = ["--labels", "organ=1,tumour=2", "--output", tmp_path / "tables"]
    for command in (["evaluate", root / "found", root / "masks"], ["measure", root / "found"]):
        ended = medseg(*command, *words)
        assert ended.code == 3
        (line,) = lines_about(ended, "good_2")
        assert "duplicate_case" in line
    assert {row.case for row in read_rows(tmp_path / "tables" / "measurements.csv", Measurement)} == {
        "good_1",
        "good_3",
    }
    ended = medseg("evaluate", root / "masks", root / "masks", *words)
    assert ended.code == 0
    assert any("3 of 3 predictions are, byte for byte, their references" in line for line in ended.lines)


def test_a_mask_with_other_axes_is_measured_on_its_image(sound: Path, tmp_path: Path) -> None:
    """The same numbers, and said; a mask whose header is mirrored is refused with what happened to it."""
    root = Path(shutil.copytree(sound, tmp_path / "data"))
    words = ["--images", root / "images", "--labels", "organ=1,tumour=2", "--channels", "CT", "--output"]
    assert medseg("measure", root / "masks", *words, tmp_path / "straight").code == 0
    for name in ("axes_reordered", "mirrored_header"):
        case = "good_2" if name == "axes_reordered" else "good_1"
        entry = next(entry for entry in DATA_SETS if entry.name == name)
        other = Path(shutil.copytree(sound, tmp_path / name))
        entry.build(other)
        shutil.copy(other / "masks" / "good_2.nii.gz", root / "masks" / f"{case}.nii.gz")
        if case == "good_1":
            shutil.copy(root / "images" / "good_2.nii.gz", root / "images" / "good_1.nii.gz")
    ended = medseg("measure", root / "masks", *words, tmp_path / "turned")
    assert ended.code == 3
    (line,) = lines_about(ended, "good_1")
    assert "its header is mirrored along i (left-right)" in line
    assert any("axes turned to the mask's order" in line for line in ended.lines)
    tables = [
        {(row.case, row.label, row.quantity, row.instance): row.value for row in read_rows(path, Measurement)}
        for path in (tmp_path / "straight" / "measurements.csv", tmp_path / "turned" / "measurements.csv")
    ]
    kept = [
        key for key in tables[0] if key[0] == "good_2" and key[2] in ("volume_ml", "mean_intensity", "sd_intensity")
    ]
    assert len(kept) >= 6
    assert {key: tables[1][key] for key in kept} == pytest.approx({key: tables[0][key] for key in kept}, rel=1e-5)
