"""Data sets whose files are sound one by one but do not belong together as they should: masks and contents."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.corpus.data_set import NAMED, DataSet, add_case, change_file, image, mask
from tests.corpus.lists import LISTS

ONE = "good_2"


def other_grid(affine: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """The mask of one case with another affine."""
    return lambda root: change_file(mask(root, ONE), affine=affine)


def other_labels(array: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """The mask of one case with other values."""
    return lambda root: change_file(mask(root, ONE), array)


def moved(x: float, y: float, z: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda affine: affine + np.array([[0, 0, 0, x], [0, 0, 0, y], [0, 0, 0, z], [0, 0, 0, 0]])


def turned(codes: str) -> Callable[[Path], None]:
    """The mask of one case written with axes in other directions, in the same world."""

    def build(root: Path) -> None:
        read = nib.load(mask(root, ONE))
        ours = nib.orientations.io_orientation(read.affine)
        to = nib.orientations.ornt_transform(ours, nib.orientations.axcodes2ornt(tuple(codes)))
        nib.save(read.as_reoriented(to), mask(root, ONE))

    return build


def every_mask(array: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for path in (root / "masks").iterdir():
            change_file(path, array)

    return build


def copied(to: str, *, with_mask: str = ONE) -> Callable[[Path], None]:
    """A further case with the image of another one, and that one's mask or a third one's array."""

    def build(root: Path) -> None:
        shutil.copy(image(root, ONE), image(root, to))
        labels = np.asarray(nib.load(mask(root, with_mask)).dataobj)
        change_file(mask(root, ONE), lambda _: labels, target=mask(root, to))

    return build


def rewritten(root: Path) -> None:
    """A further case with the same voxels in another type, another order of the axes and no compression."""
    for path, target in ((image(root, ONE), image(root, "zz", ".nii")), (mask(root, ONE), mask(root, "zz", ".nii"))):
        read = nib.load(path)
        kept = nib.Nifti1Image(np.asarray(read.dataobj).astype(np.float32), read.affine)
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(kept.affine), nib.orientations.axcodes2ornt(("P", "I", "R"))
        )
        nib.save(kept.as_reoriented(turn), target)


def with_table(build: Callable[[Path], None], rows: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        build(root)
        (root / "cases.csv").write_text(rows, "utf-8")

    return change


def swapped_mask(root: Path) -> None:
    labels = np.asarray(nib.load(mask(root, "good_1")).dataobj)
    change_file(mask(root, ONE), lambda _: labels)


def held_out_copy(root: Path) -> None:
    (root / "imagesTs").mkdir()
    shutil.copy(image(root, ONE), root / "imagesTs" / "test_1.nii.gz")


def held_out_patient(root: Path) -> None:
    add_case(root, "later", 9)
    (root / "imagesTs").mkdir()
    image(root, "later").rename(root / "imagesTs" / "later.nii.gz")
    mask(root, "later").unlink()
    (root / "cases.csv").write_text("case,patient,day\ngood_2,P2,0\nlater,P2,40\n", "utf-8")


def named(root: Path, case: str) -> None:
    add_case(root, case)


GRIDS = (
    DataSet("mirrored_header", other_grid(lambda a: a @ np.diag([-1, 1, 1, 1.0])), {ONE: "other_grid"},
            says=("mirrored along i (left-right)",), cases=2),
    DataSet("mirrored_about_its_middle", other_grid(lambda a: a @ np.array(
        [[1, 0, 0, 0], [0, -1, 0, 31], [0, 0, 1, 0], [0, 0, 0, 1.0]])), doubted={}, says=("axes turned",)),
    DataSet("shifted", other_grid(moved(7, 0, 0)), {ONE: "other_grid"}, says=("shifted by 7, 0, 0 mm",), cases=2),
    DataSet("half_a_voxel", other_grid(moved(0, 1, 0)), {ONE: "other_grid"}, says=("shifted by 0, 1, 0 mm",), cases=2),
    DataSet("other_spacing", other_grid(lambda a: a @ np.diag([1, 1, 1.25, 1])), {ONE: "other_grid"},
            says=("another spacing",), cases=2),
    DataSet("turned_a_little", other_grid(lambda a: np.array(
        [[0.995, -0.0998, 0, 0], [0.0998, 0.995, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ a), {ONE: "other_grid"},
            says=("turned by less than 90 degrees",), cases=2),
    DataSet("fewer_slices", other_labels(lambda a: a[..., :-2]), {ONE: "other_grid"},
            says=("another number of voxels",), cases=2),
    DataSet("transposed_array", other_labels(lambda a: a.transpose(2, 1, 0)), {ONE: "other_grid"},
            says=("looks transposed",), cases=2),
    DataSet("axes_reversed", turned("LPI"), says=("axes turned to the image's order",)),
    DataSet("axes_reordered", turned("SAR"), says=("axes turned to the image's order",)),
)  # fmt: skip

PAIRS = (
    DataSet("missing_mask", lambda r: mask(r, ONE).unlink(), {ONE: "missing_mask"}, cases=2),
    DataSet("missing_image", lambda r: image(r, ONE).unlink(), {ONE: "orphan_mask"}, cases=2),
    DataSet("two_images", lambda r: change_file(image(r, ONE), target=image(r, ONE, ".nii")), {ONE: "duplicate_case"},
            says=("good_2.nii and good_2.nii.gz",), cases=2),
    DataSet("two_masks", lambda r: change_file(mask(r, ONE), target=mask(r, ONE, ".nii")), {ONE: "duplicate_case"},
            cases=2),
    DataSet("a_second_mask", lambda r: change_file(mask(r, ONE), target=mask(r, f"{ONE}_seg")),
            {ONE: "ambiguous_mask"}, cases=2),
    DataSet("names_of_one_letter_size", lambda r: named(r, "GOOD_2"),
            {ONE: "duplicate_case", "GOOD_2": "duplicate_case"}, says=("but for upper and lower case",), cases=2),
    DataSet("accents_stored_twice", lambda r: (named(r, "caf\u00e9"), add_case(r, "cafe\u0301", 9)),
            {"caf\u00e9": "duplicate_case", "cafe\u0301": "duplicate_case"}),
    DataSet("blank_at_the_end", lambda r: named(r, "last "), {"last ": "bad_name"}, says=("blank",)),
    DataSet("too_long_a_name", lambda r: named(r, "n" * 230), {"n" * 230: "bad_name"}, says=("230 bytes",)),
    DataSet("backslash", lambda r: named(r, "a\\b"), {"a\\b": "bad_name"}, says=("separator",)),
    DataSet("empty_mask", other_labels(np.zeros_like)),
    DataSet("image_as_mask", lambda r: shutil.copy(image(r, ONE), mask(r, ONE)), {ONE: "bad_label_values"}, cases=2),
    DataSet("mask_as_image", lambda r: shutil.copy(mask(r, ONE), image(r, ONE)), cases=3),
    DataSet("link_to_nowhere", lambda r: (mask(r, ONE).unlink(), mask(r, ONE).symlink_to("gone.nii.gz")),
            {ONE: "missing_file"}, cases=2),
    DataSet("links_elsewhere", lambda r: (
        image(r, ONE).rename(r.parent / "elsewhere.nii.gz"), image(r, ONE).symlink_to(r.parent / "elsewhere.nii.gz")),
        says=("1 files lie outside",)),
)  # fmt: skip

CONTENTS = (
    DataSet("equal_scans", copied("zz"), {"zz": "equal_scans"}, says=(f"that of {ONE}, voxel for voxel",)),
    DataSet("equal_scans_rewritten", rewritten, {"zz": "equal_scans"}),
    DataSet("equal_scans_other_masks", copied("zz", with_mask="good_1"), {ONE: "equal_scans", "zz": "equal_scans"},
            says=("their masks differ",), cases=2),
    DataSet("equal_scans_of_one_patient", with_table(copied("zz"), f"case,patient\n{ONE},P\nzz,P\n"), cases=4),
    DataSet("equal_scans_kept", copied("zz"), says=("count as scans of one patient, good_2",), cases=4,
            words=(*NAMED, "--keep-equal-scans")),
    DataSet("equal_masks", swapped_mask, doubted={ONE: "equal_masks"}, says=("that of good_1",)),
    DataSet("inverted_mask", other_labels(lambda a: (a == 0).astype(np.uint8)), doubted={ONE: "filled_mask"},
            says=("labels and background",)),
    DataSet("filled_mask", other_labels(np.ones_like), doubted={ONE: "filled_mask"}),
    DataSet("test_scan_trained_on", held_out_copy, says=("test_1, ", "not_held_out", f"the file of {ONE}")),
    DataSet("test_patient_trained_on", held_out_patient, says=("later, ", "not_held_out", "of patient P2")),
    DataSet("label_never_drawn", every_mask(lambda a: np.minimum(a, 1)), says=("No mask holds the label tumour",)),
    DataSet("label_in_one_mask", other_labels(lambda a: np.where(np.arange(a.size).reshape(a.shape) < 40, 9, a)),
            says=("Only the mask of good_2 holds the label label_9",), words=("--channels", "CT")),
    DataSet("gaps_between_values", every_mask(lambda a: a * 3), says=("label_3, label_6", "leave out 1, 2, 4, 5"),
            words=("--channels", "CT")),
    DataSet("instances_in_one_mask", other_labels(
        lambda a: (np.arange(a.size).reshape(a.shape) % 900).astype(np.uint16)), {ONE: "bad_label_values"}, cases=2,
        words=("--channels", "CT")),
    DataSet("no_label_anywhere", every_mask(np.zeros_like), says=("no label",), ends=2, words=("--channels", "CT"),
            cases=None),
)  # fmt: skip

DATA_SETS: tuple[DataSet, ...] = (*GRIDS, *PAIRS, *CONTENTS, *LISTS)
