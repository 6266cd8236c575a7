"""Finding models in folders and zips; a zip can write nowhere but where it is unpacked."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from medseg.core.errors import FormatError, MedsegError, ModelError
from medseg.inference.nnunet import find_models, open_source
from medseg.inference.nnunet.find import find_neighbours


def make_folder(folder: Path, *checkpoints: str) -> Path:
    """A folder that looks trained in."""
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text("{}")
    for checkpoint in checkpoints:
        (folder / checkpoint).parent.mkdir(exist_ok=True)
        (folder / checkpoint).write_text("x")
    return folder


def test_models_are_found_at_any_level(tmp_path: Path) -> None:
    trainer = make_folder(tmp_path / "Dataset001_A" / "T__P__2d", "fold_0/checkpoint_final.pth")
    make_folder(tmp_path / "Dataset002_B" / "T__P__2d", "fold_1/checkpoint_best.pth")
    make_folder(tmp_path / "preprocessed")  # plans without folds are no model
    assert [model.name for model in find_models(tmp_path)] == ["Dataset001_A/T__P__2d", "Dataset002_B/T__P__2d"]
    assert [model.name for model in find_models(tmp_path / "Dataset001_A")] == ["T__P__2d"]
    assert [model.name for model in find_models(trainer)] == ["T__P__2d"]
    assert find_models(trainer / "fold_0") == ()


def test_folds_are_sorted_and_the_final_checkpoint_comes_first(tmp_path: Path) -> None:
    names = ["fold_10/checkpoint_final.pth", "fold_2/checkpoint_best.pth", "fold_all/checkpoint_final.pth"]
    names += ["fold_2/checkpoint_final.pth", "fold_3/checkpoint_best.pth", "fold_4/checkpoint_latest.pth"]
    names += ["fold_02/checkpoint_final.pth", "fold_x/checkpoint_final.pth"]
    (model,) = find_models(make_folder(tmp_path / "T__P__2d", *names))
    assert [(fold, file.name) for fold, file in model.checkpoints] == [
        (2, "checkpoint_final.pth"), (3, "checkpoint_best.pth"), (10, "checkpoint_final.pth"),
        ("all", "checkpoint_final.pth"),
    ]  # fmt: skip


def test_neighbours_are_the_other_models_beside_one(tmp_path: Path) -> None:
    first = make_folder(tmp_path / "low", "fold_0/checkpoint_final.pth")
    make_folder(tmp_path / "full", "fold_0/checkpoint_final.pth")
    (tmp_path / "other").mkdir()
    assert [model.name for model in find_neighbours(find_models(first)[0])] == ["full"]


def test_the_first_version_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "plans.pkl").write_bytes(b"x")
    (model,) = find_models(tmp_path)
    assert model.is_first_version


def write_zip(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_a_zip_gives_plans_and_checkpoints_alone(tmp_path: Path) -> None:
    folder = "Dataset001_A/T__P__2d"
    file = write_zip(
        tmp_path / "model.zip",
        (f"{folder}/plans.json", b"{}"),
        (f"{folder}/dataset.json", b"{}"),
        (f"{folder}/fold_0/checkpoint_final.pth", b"final"),
        (f"{folder}/fold_0/checkpoint_best.pth", b"best"),
        (f"{folder}/fold_1/checkpoint_best.pth", b"best"),
        (f"{folder}/fold_0/progress.png", b"x"),
        (f"__MACOSX/{folder}/plans.json", b"x"),
    )
    with open_source(file) as root:
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        assert [model.name for model in find_models(root)] == [folder]
    assert found == [
        f"{folder}/dataset.json", f"{folder}/fold_0/checkpoint_final.pth", f"{folder}/fold_1/checkpoint_best.pth",
        f"{folder}/plans.json",
    ]  # fmt: skip
    assert not root.exists()


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("entry", "content", "code"),
    [
        ("../plans.json", b"{}", "path_traversal"),
        ("a/../../plans.json", b"{}", "path_traversal"),
        ("/tmp/plans.json", b"{}", "path_traversal"),
        ("C:/plans.json", b"{}", "path_traversal"),
        ("..\\plans.json", b"{}", "path_traversal"),
        ("../../readme.txt", b"x", "path_traversal"),
        (link("model/fold_0"), b"/etc", "path_traversal"),
        ("model/fold_0/checkpoint_final.pth", bytes(2**24), "too_large"),
    ],
)
def test_a_dangerous_zip_is_refused_whole(
    tmp_path: Path, entry: str | zipfile.ZipInfo, content: bytes, code: str
) -> None:
    file = write_zip(tmp_path / "z.zip", (entry, content))
    with pytest.raises(ModelError) as caught, open_source(file):
        pytest.fail("it was opened")
    assert caught.value.code == code
    assert not (tmp_path / "plans.json").exists()


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "z.zip", ("m/plans.json", b"{}" * 50), ("m/fold_0/checkpoint_final.pth", bytes(99)))
    whole = file.read_bytes()
    for content in (whole[:-30], whole[:40] + bytes(8) + whole[48:], b"text"):
        file.write_bytes(content)
        with pytest.raises(FormatError, match="zip"), open_source(file):
            pytest.fail("it was opened")


def test_entries_that_stand_in_each_others_way_are_refused(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "z.zip", ("plans.json", b"{}"), ("plans.json/plans.json", b"{}"))
    with pytest.raises(MedsegError), open_source(file):
        pytest.fail("it was opened")


def test_a_model_at_a_zips_root_has_no_neighbours(tmp_path: Path) -> None:
    with open_source(write_zip(tmp_path / "z.zip", ("plans.json", b"{}"), ("fold_0/x", b""))) as root:
        (root / "fold_0").mkdir()
        (model,) = find_models(root, "z")
        assert model.name == "z"
        assert list(root.parent.iterdir()) == [root]
        assert find_neighbours(model) == ()


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError), open_source(tmp_path / "none"):
        pytest.fail("it was opened")
