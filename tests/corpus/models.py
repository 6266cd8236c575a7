"""Models that are damaged, foreign or made to harm: each is refused before a scan is read."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from medseg.core.manifest import hash_file

RECORD, PLAN, WEIGHTS = "model.json", "plan.json", "weights/3d_fullres/fold_0.safetensors"


@dataclass(frozen=True)
class BadModel:
    """A model with a fault.

    Args:
        name: unique.
        build: changes a sound model's folder.
        says: a part of what is said of it.
    """

    name: str
    build: Callable[[Path], object]
    says: str


def _record(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """``model.json`` with other content, and no hash of its own, as one who can write it would leave it."""

    def build(folder: Path) -> None:
        content = json.loads((folder / RECORD).read_text("utf-8"))
        change(content)
        content.pop("sha256", None)
        (folder / RECORD).write_text(json.dumps(content), "utf-8")

    return build


def _sign(folder: Path, name: str) -> None:
    """The hash of a file that was changed, as one who can write the whole folder would set it."""
    _record(lambda content: content["files"].update({name: hash_file(folder / name)}))(folder)


def _plan(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """``plan.json`` with other content and its right hash."""

    def build(folder: Path) -> None:
        content = json.loads((folder / PLAN).read_text("utf-8"))
        change(content)
        (folder / PLAN).write_text(json.dumps(content), "utf-8")
        _sign(folder, PLAN)

    return build


def _weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """Other weights with their right hash."""

    def build(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)
        _sign(folder, WEIGHTS)

    return build


def _bytes(name: str, change: Callable[[bytes], bytes], *, signed: bool = False) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        if signed:
            _sign(folder, name)

    return build


class _Harm:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("CODE OF A MODEL RAN",)


def _pickle(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(_Harm()))
    _sign(folder, WEIGHTS)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _zip(folder: Path) -> None:
    """A file where a folder should be."""
    with zipfile.ZipFile(folder.with_name("packed"), "w") as archive:
        archive.write(folder / RECORD, RECORD)
    shutil.rmtree(folder)
    folder.with_name("packed").rename(folder)


def _foreign(folder: Path) -> None:
    """An nnU-Net results folder."""
    _empty(folder)
    (folder / "fold_0").mkdir()
    for name in ("dataset.json", "plans.json", "fold_0/checkpoint_final.pth"):
        (folder / name).write_bytes(pickle.dumps(_Harm()) if name.endswith("pth") else b"{}")


def _link_out(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.with_name("elsewhere.safetensors"))
    (folder / WEIGHTS).symlink_to(folder.with_name("elsewhere.safetensors"))


def _flip(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 4
    return bytes(changed)


def _shape_bomb(content: bytes) -> bytes:
    """A safetensors header that declares a tensor of petabytes."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 50], "data_offsets": [0, 1 << 52]}}).encode()
    return len(header).to_bytes(8, "little") + header


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update({key: value})


def _configuration(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return _plan(lambda content: change(next(iter(content["configurations"].values()))))


MODELS: tuple[BadModel, ...] = (
    BadModel("empty_folder", _empty, "model.json"),
    BadModel("a_zip_file", _zip, "model"),
    BadModel("a_results_folder_of_nnunet", _foreign, "import-nnunet"),
    BadModel("no_record", lambda folder: (folder / RECORD).unlink(), "model.json"),
    BadModel("no_plan", lambda folder: (folder / PLAN).unlink(), "plan.json"),
    BadModel("no_weights", lambda folder: (folder / WEIGHTS).unlink(), "fold_0.safetensors"),
    BadModel("record_cut", _bytes(RECORD, lambda content: content[: len(content) // 2]), "model.json"),
    BadModel("record_of_a_list", _bytes(RECORD, lambda content: b"[1, 2]"), "model.json"),
    BadModel("record_nested_without_end", _bytes(RECORD, lambda content: b"[" * 200_000), "model.json"),
    BadModel("record_with_a_key_twice", _bytes(RECORD, lambda content: b'{"format": 1, ' + content[1:]), "model.json"),
    BadModel("record_with_an_unknown_key", _record(_set("run_this", "rm -rf")), "run_this"),
    BadModel("record_of_another_format", _record(_set("format", 999)), "format"),
    BadModel("record_changed", _bytes(RECORD, lambda content: content.replace(b'"c0"', b'"c1"')), "sha256"),
    BadModel("record_of_no_members", _record(_set("members", [])), "no network"),
    BadModel("record_of_other_channels", _record(_set("channels", ["CT", "PET"])), "not the plan's"),
    BadModel("path_that_leaves", _record(lambda content: content["files"].update({"../../etc/passwd": "0" * 64})),
             "leaves the model's folder"),
    BadModel("link_that_leaves", _link_out, "leaves the model's folder"),
    BadModel("plan_changed", _bytes(PLAN, lambda content: content.replace(b"1", b"2", 1)), "plan.json"),
    BadModel("plan_with_an_unknown_key", _plan(_set("exec", "x")), "exec"),
    BadModel("plan_of_a_huge_patch", _configuration(_set("patch_size", [1 << 20] * 3)), ""),
    BadModel("plan_of_no_spacing", _configuration(_set("spacing_mm", [0, 0, 0])), "spacing_mm"),
    BadModel("plan_of_another_network", _configuration(lambda content: content["network"].update(
        {"name": "os.system"})), "os.system"),
    BadModel("weights_flipped", _bytes(WEIGHTS, _flip), "fold_0.safetensors"),
    BadModel("weights_cut", _bytes(WEIGHTS, lambda content: content[:-9]), "fold_0.safetensors"),
    BadModel("weights_empty", _bytes(WEIGHTS, lambda content: b"", signed=True), "fold_0.safetensors"),
    BadModel("weights_of_petabytes", _bytes(WEIGHTS, _shape_bomb, signed=True), "fold_0.safetensors"),
    BadModel("weights_are_a_pickle", _pickle, "cannot be read"),
    BadModel("weights_nan", _weights(lambda tensors: next(iter(tensors.values())).fill_(float("nan"))), "not finite"),
    BadModel("weights_of_another_network", _weights(lambda tensors: tensors.popitem()), "do not fit"),
    BadModel("weights_of_another_shape", _weights(lambda tensors: tensors.update(
        {next(iter(tensors)): torch.zeros(3)})), "do not fit"),
)  # fmt: skip
