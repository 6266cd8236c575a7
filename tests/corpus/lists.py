"""Data sets whose lists and tables are wrong: ``dataset.json``, CSV files, ``cases.csv``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.corpus.data_set import GOOD, DataSet, image, mask

LABELS = {"background": 0, "organ": 1, "tumour": 2}
NAMES = {"channel_names": {"0": "CT"}, "labels": LABELS, "file_ending": ".nii.gz"}
ONE = "good_2"
IMAGE, MASK = f"images/{ONE}.nii.gz", f"masks/{ONE}.nii.gz"


def json_file(text: str) -> Callable[[Path], None]:
    """A ``dataset.json`` of this text beside the folders."""
    return lambda root: _write(root / "dataset.json", text)


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def listed(*, name: str = "more", images: Any = (IMAGE,), label: Any = MASK) -> Callable[[Path], None]:
    """nnU-Net's list of cases, the sound ones and one more."""

    def build(root: Path) -> None:
        cases = {case: {"images": [f"images/{case}.nii.gz"], "label": f"masks/{case}.nii.gz"} for case in GOOD}
        del cases[ONE]
        paths = [str(path).replace("ROOT", str(root)) for path in images]
        _write(
            root / "dataset.json", json.dumps({**NAMES, "dataset": {**cases, name: {"images": paths, "label": label}}})
        )

    return build


def decathlon(*more: dict[str, str], **content: Any) -> Callable[[Path], None]:
    """A Decathlon's list of the sound cases and more."""

    def build(root: Path) -> None:
        training = [{"image": f"./images/{case}.nii.gz", "label": f"./masks/{case}.nii.gz"} for case in GOOD]
        names = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ", "2": "tumour"}}
        _write(root / "dataset.json", json.dumps({**names, "training": [*training, *more], **content}))

    return build


def table(*rows: str, columns: str = "case,image,mask") -> Callable[[Path], None]:
    """A CSV with the first and the third case, and further rows."""

    def build(root: Path) -> None:
        sound = [f"{case},images/{case}.nii.gz,masks/{case}.nii.gz" for case in GOOD if case != ONE]
        padded = [row + "," * (columns.count(",") - 2) for row in sound]
        lines = [columns, *padded, *(row.replace("ROOT", str(root)) for row in rows)]
        _write(root / "list.csv", "\n".join(lines) + "\n")

    return build


def patients(rows: str) -> Callable[[Path], None]:
    return lambda root: _write(root / "cases.csv", rows)


def moved_out(build: Callable[[Path], None]) -> Callable[[Path], None]:
    """One case's files lie beside the data set's folder."""

    def change(root: Path) -> None:
        (root.parent / "beside").mkdir(exist_ok=True)
        shutil.move(image(root, ONE), root.parent / "beside" / "scan.nii.gz")
        shutil.move(mask(root, ONE), root.parent / "beside" / "mask.nii.gz")
        build(root)

    return change


def csv(name: str, build: Callable[[Path], None], refused: dict[str, str] | None = None, **more: Any) -> DataSet:
    return DataSet(name, build, refused or {}, opened="list.csv", **more)


OUT = "ROOT/../beside/scan.nii.gz"
NO_WORDS: tuple[str, ...] = ("--channels", "CT")

LISTS: tuple[DataSet, ...] = (
    DataSet("listed_name_leads_out", listed(name="../../evil"), {"../../evil": "bad_name"}, cases=2, words=()),
    DataSet("listed_name_is_a_path", listed(name="/tmp/evil"), {"/tmp/evil": "bad_name"}, cases=2, words=()),
    DataSet("listed_name_is_hidden", listed(name=".evil"), {".evil": "bad_name"}, cases=2, words=()),
    DataSet("listed_name_of_another_system", listed(name="..\\evil"), {"..\\evil": "bad_name"}, cases=2, words=()),
    DataSet("listed_name_breaks_lines", listed(name="a\nb"), {"a\\nb": "bad_name"}, cases=2, words=()),
    DataSet("listed_name_is_empty", listed(name=""), {"": "bad_name"}, cases=2, words=()),
    DataSet("listed_above", moved_out(listed(images=("../beside/scan.nii.gz",), label="../beside/mask.nii.gz")),
            says=("2 files lie outside",), words=()),
    DataSet("listed_absolute", moved_out(listed(images=(OUT,), label="../beside/mask.nii.gz")),
            says=("2 files lie outside",), words=()),
    DataSet("listed_image_is_gone", listed(images=("images/gone.nii.gz",)), {"more": "missing_channel"}, cases=2,
            words=()),
    DataSet("listed_mask_is_gone", listed(label="masks/gone.nii.gz"), {"more": "missing_mask"}, cases=2, words=(),
            says=("masks/gone.nii.gz",)),
    DataSet("listed_without_a_mask", listed(label=None), {"more": "missing_mask"}, cases=2, words=()),
    DataSet("listed_image_is_a_folder", listed(images=("images",)), {"more": "missing_channel"}, cases=2, words=()),
    DataSet("two_entries_of_one_name", decathlon({"image": f"./{IMAGE}", "label": "./masks/good_1.nii.gz"}),
            {ONE: "duplicate_case"}, cases=2, words=()),
    DataSet("one_entry_twice", decathlon({"image": f"./{IMAGE}", "label": f"./{MASK}"}), words=()),
    DataSet("entry_without_a_file", decathlon({"image": "./images/gone.nii.gz", "label": f"./{MASK}"}),
            {"gone": "missing_image"}, words=()),
    DataSet("fewer_than_counted", decathlon(numTraining=5), says=("numTraining 5, found 3",), words=()),
    DataSet("label_named_twice", json_file('{"labels": {"background": 0, "organ": 1, "tumour": 2, "organ": 3}}'),
            says=("'organ' stands twice",), ends=2, cases=None, words=NO_WORDS),
    DataSet("labels_of_one_value", json_file('{"labels": {"organ": 1, "tumour": 1}}'),
            says=("both have the value 1",), ends=2, cases=None, words=NO_WORDS),
    DataSet("label_below_0", json_file('{"labels": {"organ": -1}}'), says=("not a whole number",), ends=2,
            cases=None, words=NO_WORDS),
    DataSet("label_of_half", json_file('{"labels": {"organ": 1.5}}'), says=("not a whole number",), ends=2,
            cases=None, words=NO_WORDS),
    DataSet("no_label_named", json_file('{"labels": {"background": 0}}'), says=("no label besides",), ends=2,
            cases=None, words=NO_WORDS),
    DataSet("brackets_without_end", json_file("[" * 100_000), says=("dataset.json", "not JSON"), ends=2, cases=None,
            words=NO_WORDS),
    DataSet("a_number_of_5000_digits", json_file('{"labels": {"organ": ' + "1" * 5000 + "}}"),
            says=("dataset.json", "not JSON"), ends=2, cases=None, words=NO_WORDS),
    DataSet("json_with_a_mark", json_file("\ufeff" + json.dumps(NAMES)), words=()),
    csv("row_leads_out", table(f"../evil,{IMAGE},{MASK}"), {"../evil": "bad_name"}, cases=2),
    csv("row_of_a_path", table(f"/evil,{IMAGE},{MASK}"), {"/evil": "bad_name"}, cases=2),
    csv("row_without_a_name", table(f",{IMAGE},{MASK}"), {"": "bad_name"}, cases=2),
    csv("row_above", moved_out(table(f"{ONE},../beside/scan.nii.gz,../beside/mask.nii.gz")),
        says=("2 files lie outside",)),
    csv("row_absolute", moved_out(table(f"{ONE},{OUT},../beside/mask.nii.gz")), says=("2 files lie outside",)),
    csv("row_twice_with_two_masks", table(f"{ONE},{IMAGE},{MASK}", f"{ONE},{IMAGE},masks/good_1.nii.gz"),
        {ONE: "duplicate_case"}, cases=2),
    csv("row_twice", table(f"{ONE},{IMAGE},{MASK}", f"{ONE},{IMAGE},{MASK}")),
    csv("row_of_a_missing_image", table(f"{ONE},images/gone.nii.gz,{MASK}"), {ONE: "missing_image"}, cases=2),
    csv("row_of_a_missing_mask", table(f"{ONE},{IMAGE},masks/gone.nii.gz"), {ONE: "missing_mask"}, cases=2,
        says=("masks/gone.nii.gz",)),
    csv("row_without_a_mask", table(f"{ONE},{IMAGE},"), {ONE: "missing_mask"}, cases=2),
    csv("row_of_a_bad_day", table(f"{ONE},{IMAGE},{MASK},P,1.5", columns="case,image,mask,patient,day"),
        {ONE: "bad_day"}, cases=2),
    csv("rows_without_patients", table(f"{ONE},{IMAGE},{MASK},P", columns="case,image,mask,patient"),
        says=("no patient of good_1, good_3",)),
    csv("one_image_in_two_rows", table("zz,images/good_1.nii.gz,masks/good_1.nii.gz"), {"zz": "equal_scans"}, cases=2),
    DataSet("patient_in_two_rows", patients(f"case,patient\n{ONE},P1\n{ONE},P2\n"), {ONE: "duplicate_case"}, cases=2),
    DataSet("patients_of_other_cases", patients("case,patient\ngood-1,P1\ngood_2,P1\n"),
            says=("1 cases that are not there: good-1", "no patient of good_1, good_3")),
    DataSet("patients_of_other_letters", patients("case,patient\ngood_1,Smith\ngood_2,smith \ngood_3,P3\n"),
            says=("Smith and smith count as different patients",)),
)  # fmt: skip
