"""Headers that hold HTML, paths and odd letters, through every command: nothing of them in names, logs or pages, and
every file is counted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.rtstruct_write import write_rtstruct
from medseg.io.dicom.seg_write import write_seg
from medseg.io.dicom.uids import derive_uid
from tests.end_to_end.command_line import Ended, medseg
from tests.inference.examples import write_model
from tests.io.dicom_series import pile, write

SHAPE = (14, 15)
# Name, identifier and description of each patient; what must not be found anywhere is one of the first two.
PATIENTS = [
    ("<script>alert(1)</script>^Bobby", "<img src=x onerror=alert(2)>", "<b>thorax</b> & \"more\""),
    ("../../../etc/passwd^root", "..\\..\\windows\\4711", "../../up"),
    ("Muster'); DROP TABLE patients;--", "=HYPERLINK(\"http://x\")", "=1+1"),
    ("M\u00fcller^J\u00fcrgen", "id-\u00e4\u00f6", "Sch\u00e4del"),
]  # fmt: skip
CHARACTER_SETS = ["ISO_IR 100", "ISO_IR 100", "ISO_IR 100", "ISO_IR 666"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of each patient with RTSTRUCT or SEG, a text file and a broken slice that names no series."""
    root = tmp_path_factory.mktemp("archive") / "tree"
    labels = LabelScheme.make({"Liver": 1})
    for number, (name, identifier, description) in enumerate(PATIENTS):
        folder = root / f"{number}"
        header = {
            "PatientName": name, "PatientID": identifier, "SeriesDescription": description,
            "SpecificCharacterSet": "ISO_IR 100", "StudyInstanceUID": derive_uid("study", str(number)),
            "SeriesInstanceUID": derive_uid("series", str(number)), "FrameOfReferenceUID": derive_uid("f", str(number)),
        }  # fmt: skip
        planes = [
            plane.but(SOPInstanceUID=derive_uid("image", str(number), str(k)))
            for k, plane in enumerate(pile(9, shape=SHAPE, header=header))
        ]
        for path in write(folder / "scan", planes):
            path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", CHARACTER_SETS[number].encode()))
        (series,) = find_series(folder / "scan").images
        _, source, _ = read_series(series)
        array = np.zeros(source.geometry.shape, np.uint8)
        array[2:9, 3:9, 2:7] = 1
        mask = Segmentation(array, source.geometry)
        if number % 2:
            write_seg(folder / "seg.dcm", mask, labels, source)
        else:
            write_rtstruct(folder / "rs.dcm", mask, labels, source)
    reference = pydicom.dcmread(root / "0" / "rs.dcm")
    reference.StructureSetROISequence[0].ROIName = "<i>Liver</i>"
    reference.save_as(root / "0" / "rs.dcm")
    (root / "notes.txt").write_text("no DICOM")
    (root / "broken.dcm").write_bytes((root / "0" / "scan" / "im001.dcm").read_bytes()[:200])
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, folds=(0,))
    return folder


def list_secrets() -> list[str]:
    words = [word for name, identifier, _ in PATIENTS for word in (name, identifier)]
    return [*words, *(word.encode("unicode_escape").decode() for word in words), "alert(", "passwd", "DROP TABLE"]


def require_no_secret(ended: Ended, output: Path, root: Path) -> None:
    """Neither on screen nor in any file or its name; nothing is written elsewhere."""
    texts = {"screen": "\n".join([ended.output, *ended.lines])}
    for path in output.rglob("*"):
        texts[str(path)] = path.relative_to(output).as_posix()
        if path.is_file() and path.suffix in (".json", ".csv", ".html"):
            texts[str(path)] += path.read_text("utf-8")
    found = [(place, word) for place, text in texts.items() for word in list_secrets() if word in text]
    assert found == []
    assert not list(root.parent.parent.rglob("*passwd*"))


def count_all(entry: dict[str, object], root: Path) -> None:
    unused = entry["unused"]
    assert isinstance(unused, list)
    assert entry["files"] == find_series(root).file_count == len(PATIENTS) * 10 + 2
    assert entry["used"] + sum(one["files"] for one in unused) == entry["files"]
    assert all(one["reason"] for one in unused)


def test_check(tree: Path, tmp_path: Path) -> None:
    ended = medseg("check", tree, "--json")
    assert ended.code == 0
    content = json.loads(ended.output)
    used = sum(series["files"] for series in content["series"])
    assert used + len(content["unused"]) == content["files"] == len(PATIENTS) * 10 + 2
    require_no_secret(ended, tmp_path, tree)


def test_import_dicom(tree: Path, tmp_path: Path) -> None:
    output, rules = tmp_path / "data", tmp_path / "rois.json"
    listed = medseg("import-dicom", tree, output)
    assert "<i>Liver</i>" in listed.output  # a structure's name is no patient's, and a terminal runs no HTML
    rules.write_text(json.dumps({"labels": {"liver": ["*liver*"]}}))
    ended = medseg("import-dicom", tree, output, "--labels", rules)
    assert ended.code == 0
    require_no_secret(ended, output, tree)
    rows = (output / "import.csv").read_text().splitlines()
    assert len(list((output / "images").iterdir())) == len(PATIENTS)
    counted = sum(int(row["files"]) for row in csv.DictReader(rows))
    assert counted == len(PATIENTS) * 10 + 2


def test_predict_evaluate_measure_and_report(tree: Path, model: Path, tmp_path: Path) -> None:
    masks, rules = tmp_path / "masks", tmp_path / "rois.json"
    names = {"organ": {"patterns": ["*liver*"], "value": 1}, "tumour": {"patterns": ["gtv"], "value": 3}}
    rules.write_text(json.dumps({"labels": names}))
    ended = medseg("predict", tree, masks, "--model", model, "--device", "cpu", "--no-mirroring")
    assert ended.code == 0
    require_no_secret(ended, masks, tree)
    (entry,) = json.loads((masks / "run.json").read_text())["dicom"]
    count_all(entry, tree)
    commands: list[tuple[str, Callable[[Path], tuple[str | Path, ...]]]] = [
        ("evaluate", lambda output: (masks, tree, "--output", output)),
        ("measure", lambda output: (tree, "--output", output, "--images", tree)),
    ]
    for name, words in commands:
        output = tmp_path / name
        ended = medseg(name, *words(output), "--labels", rules)
        assert ended.code == 0, ended
        assert len(json.loads((output / "run.json").read_text())["cases"]) == len(PATIENTS)
        (entry,) = json.loads((output / "run.json").read_text())["dicom"]
        count_all(entry, tree)
        require_no_secret(ended, output, tree)
        ended = medseg("report", output, "--images", tree)
        assert ended.code == 0
        require_no_secret(ended, output, tree)
        assert "<i>Liver" not in (output / "report.html").read_text("utf-8")
