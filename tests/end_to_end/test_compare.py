"""Masks of two methods, from ``medseg evaluate`` to ``medseg compare``, and what their options do to the scores."""

import json
from pathlib import Path

import numpy as np
import pytest

import medseg as package
from medseg.core.results import Score, read_rows
from tests.end_to_end.command_line import medseg
from tests.io.trees import save_mask

CASES = [f"case_{number:02d}" for number in range(8)]
LABELS = "organ=1,tumour=2"


def draw_masks(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A reference, a mask with its organ one voxel short and without the tumour, and one that is nearly right."""
    rng = np.random.default_rng(seed)
    reference = np.zeros((14, 14, 8))
    low = rng.integers(1, 4, 3)
    reference[low[0] : 11, low[1] : 11, low[2] : 7] = 1
    reference[6:9, 6:9, 4:6] = 2
    coarse, good = reference.copy(), reference.copy()
    coarse[low[0]], coarse[coarse == 2] = 0, 1
    good[low[0], 5, 5] = 0
    return reference, coarse, good


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks")
    for seed, case in enumerate(CASES):
        for name, mask in zip(("reference", "coarse", "good"), draw_masks(seed), strict=True):
            save_mask(root / name / f"{case}.nii.gz", mask)
    return root


def evaluate(root: Path, name: str, output: Path, *words: str) -> Path:
    ended = medseg("evaluate", root / name, root / "reference", "--output", output, "--labels", LABELS, *words)
    assert ended.code == 0, ended.lines
    return output


@pytest.fixture(scope="module")
def scored(folders: Path) -> tuple[Path, Path]:
    return evaluate(folders, "coarse", folders / "scores_coarse"), evaluate(folders, "good", folders / "scores_good")


def test_two_methods(scored: tuple[Path, Path], tmp_path: Path) -> None:
    ended = medseg("compare", *scored, "--output", tmp_path / "out", "--margin", "dice=0.02", "--margin", "hd95=1")
    assert ended.code == 0, ended.lines
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["comparison.csv", "comparison.json", "comparison.png", "comparison.tex"]
    lines = ended.output.splitlines()
    assert lines[0].split()[:5] == ["label", "metric", "scores_coarse", "scores_good", "best"]
    (organ,) = [line for line in lines if line.startswith("organ") and " Dice " in line and "of lesions" not in line]
    assert organ.split()[4] == "scores_good"
    assert "non-inferior (margin 0.02)" in organ
    assert "8 patients, 8 cases" in ended.output
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    pairs = {(pair["label"], pair["metric"]): pair for pair in content["comparisons"]}
    assert pairs["organ", "dice"]["p"] == pytest.approx(2 / 2**8)  # all eight favour the second
    assert pairs["tumour", "dice"]["mean_first"] == 0.0
    assert pairs["tumour", "hd95"]["infinite_first"] == 8
    assert pairs["tumour", "lesion_found"]["difference"] == 1.0
    assert not [key for key in pairs if "predicted_volume_ml" in key]


def test_json_and_python_say_the_same(scored: tuple[Path, Path], tmp_path: Path) -> None:
    ended = medseg("compare", *scored, "--output", tmp_path / "a", "--json")
    printed = json.loads(ended.output)
    assert [case["status"] for case in printed.pop("cases")] == ["done"] * 8
    result = package.compare(scored, tmp_path / "b")
    assert {key: value for key, value in json.loads(result.to_json()).items() if key != "cases"} == printed
    for name in ("comparison.csv", "comparison.json", "comparison.tex", "comparison.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_three_methods(folders: Path, scored: tuple[Path, Path], tmp_path: Path) -> None:
    third = evaluate(folders, "reference", tmp_path / "perfect")
    ended = medseg("compare", *scored, third, "--output", tmp_path / "out")
    assert ended.code == 0
    (organ,) = [line.split() for line in ended.output.splitlines() if line.split()[:2] == ["organ", "Dice"]][:1]
    assert organ[4:8] == ["1.000", "perfect", "100", "%"]
    assert "only in" not in ended.output  # the first method predicts no tumour: no note on its missing lesions


def test_a_case_that_one_method_lacks_ends_with_3(folders: Path, scored: tuple[Path, Path], tmp_path: Path) -> None:
    for case in CASES[:7]:
        save_mask(tmp_path / "masks" / f"{case}.nii.gz", draw_masks(CASES.index(case))[2])
    medseg("evaluate", tmp_path / "masks", folders / "reference", "--output", tmp_path / "few", "--labels", LABELS)
    ended = medseg("compare", scored[0], tmp_path / "few", "--output", tmp_path / "out")
    assert ended.code == 3
    line = ended.about("case_07")
    assert str(tmp_path / "few") in line
    assert "scores in scores_coarse, none in few" in line
    assert "evaluate it there too" in line
    assert "7 patients, 7 cases" in ended.output


def test_mixed_definitions_and_wrong_words_end_with_2(folders: Path, scored: tuple[Path, Path], tmp_path: Path) -> None:
    other = evaluate(folders, "good", tmp_path / "voxel", "--definition", "voxel")
    ended = medseg("compare", scored[0], other, "--output", tmp_path / "out")
    assert (ended.code, ended.output) == (2, "")
    assert "'surfel mm' in scores_coarse, 'voxel mm' in voxel" in ended.lines[-1]
    assert "--definition" in ended.lines[-1]
    for words, said in (
        (["--margin", "dice"], "--margin 'dice' is not metric=number"),
        (["--margin", "dice=0"], "above 0"),
        (["--margin", "dice=x"], "above 0"),
        (["--margin", "dice=0.1", "--margin", "dice=0.2"], "twice for dice"),
        (["--margin", "volume=0.1"], "a margin for 'volume', which is not compared"),
    ):
        ended = medseg("compare", *scored, "--output", tmp_path / "out", *words)
        assert (ended.code, said in " ".join(ended.lines)) == (2, True), ended.lines
    assert medseg("compare", scored[0], "--output", tmp_path / "out").code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "surface", "organ", "tumour"),
    [
        ([], "surfel", "surfel tol=1mm", "surfel tol=1mm"),
        (["--definition", "voxel"], "voxel", "voxel tol=1mm", "voxel tol=1mm"),
        (["--definition", "pooled", "--tolerance-mm", "2.5"], "pooled", "pooled tol=2.5mm", "pooled tol=2.5mm"),
        (["--tolerance-mm", "tumour=0.5"], "surfel", "surfel tol=1mm", "surfel tol=0.5mm"),
        (["--tolerance-mm", "3,tumour=0.5"], "surfel", "surfel tol=3mm", "surfel tol=0.5mm"),
    ],
)
def test_definition_and_tolerance_stand_in_the_scores(
    folders: Path, tmp_path: Path, words: list[str], surface: str, organ: str, tumour: str
) -> None:
    evaluate(folders, "good", tmp_path / "out", *words)
    rows = {(row.case, row.label, row.metric): row for row in read_rows(tmp_path / "out" / "scores.csv", Score)}
    for case in CASES:
        assert {rows[case, "organ", metric].definition for metric in ("hd", "hd95", "assd", "masd")} == {surface}
        assert (rows[case, "organ", "nsd"].definition, rows[case, "tumour", "nsd"].definition) == (organ, tumour)
    settings = json.loads((tmp_path / "out" / "scores.json").read_text())["settings"]
    assert settings["definition"] == surface
    assert settings["tolerance_mm"] == {
        label: float(text.partition("tol=")[2].removesuffix("mm"))
        for label, text in (("organ", organ), ("tumour", tumour))
    }


def test_a_wider_tolerance_and_another_definition_change_the_values(folders: Path, tmp_path: Path) -> None:
    def read(*words: str) -> dict[str, float]:
        evaluate(folders, "coarse", tmp_path / "out", *words)
        rows = read_rows(tmp_path / "out" / "scores.csv", Score)
        return {row.metric: row.value or 0.0 for row in rows if (row.case, row.label) == (CASES[0], "organ")}

    narrow, wide, voxel = read("--tolerance-mm", "0.4"), read("--tolerance-mm", "2"), read("--definition", "voxel")
    assert narrow["nsd"] < wide["nsd"] == 1.0
    assert narrow["assd"] == wide["assd"] != voxel["assd"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--definition", "mesh"], "mesh"),
        (["--tolerance-mm", "a"], "--tolerance-mm 'a' is not a number"),
        (["--tolerance-mm", "tumor=1"], "a tolerance for 'tumor', the labels are organ, tumour"),
        (["--tolerance-mm", "-1"], "not a number of millimetres from 0 up"),
    ],
)
def test_wrong_definitions_and_tolerances_end_with_2(
    folders: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    ended = medseg(
        "evaluate", folders / "good", folders / "reference", "--output", tmp_path / "out", "--labels", LABELS, *words
    )
    assert (ended.code, ended.output) == (2, "")
    assert said in " ".join(ended.lines)
    assert not (tmp_path / "out").exists()
