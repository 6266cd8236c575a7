"""Checkpoints are read whole and without running anything in them; all else is refused by name."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.core.errors import FormatError, MedsegError, ModelError
from medseg.inference.nnunet.checkpoint import open_checkpoint, read_checkpoint
from tests.inference.nnunet.folders import build_network, make_checkpoint, make_network, name_as_nnunet

NETWORK = make_network()
STATE = name_as_nnunet(NETWORK, build_network(NETWORK).state_dict())


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def rewrite(path: Path, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive anew, with checksums that fit, each entry as ``change(name, content)`` has it."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))
    return path


def test_weights_and_values_come_through_the_child(tmp_path: Path) -> None:
    path = save(make_checkpoint(STATE, "3d_fullres", inference_allowed_mirroring_axes=(2, 0)), tmp_path / "c.pth")
    checkpoint = open_checkpoint(path)
    assert (checkpoint.configuration, checkpoint.trainer, checkpoint.mirror_axes) == (
        "3d_fullres", "nnUNetTrainer", (0, 2),
    )  # fmt: skip
    assert checkpoint.weights.keys() == STATE.keys()
    assert all(torch.equal(checkpoint.weights[name], STATE[name]) for name in STATE)


def test_a_refusal_in_the_child_names_the_file(tmp_path: Path) -> None:
    path = save(make_checkpoint(STATE, "3d_fullres", extra=pathlib.PurePosixPath("x")), tmp_path / "c.pth")
    with pytest.raises(ModelError, match=r"pathlib\.PurePosixPath") as caught:
        open_checkpoint(path)
    assert caught.value.file == str(path)
    assert caught.value.code == "forbidden_content"


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    for name, code in (("none.pth", "missing_file"), ("empty.pth", "empty_file"), (".", "missing_file")):
        with pytest.raises(FormatError) as caught:
            open_checkpoint(tmp_path / name)
        assert caught.value.code == code


def test_the_child_can_take_neither_memory_nor_disk(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from medseg.compute.child import limit_memory, lower_limit\n"
        "from medseg.inference.nnunet.checkpoint import EXTRA_MEMORY_BYTES, EXTRA_OUTPUT_BYTES\n"
        "lower_limit('RLIMIT_FSIZE', EXTRA_OUTPUT_BYTES)\n"
        "try:\n"
        "    with limit_memory(EXTRA_MEMORY_BYTES): bytearray(3 * 2**30)\n"
        "except MemoryError: print('no memory')\n"
        "try: Path(sys.argv[1]).write_bytes(bytes(2**27))\n"
        "except OSError: print('no disk')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["no memory", "no disk"]


def test_older_numpy_is_understood(tmp_path: Path) -> None:
    path = save(make_checkpoint(STATE, "2d"), tmp_path / "c.pth")
    rewrite(path, lambda name, content: content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    with zipfile.ZipFile(path) as archive:
        assert b"numpy.core.multiarray" in archive.read("c/data.pkl")
    assert read_checkpoint(path, tmp_path)["configuration"] == "2d"


class _Runner:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        (_Runner(), "__builtin__.print|builtins.print"),
        (pathlib.PurePosixPath("x"), "pathlib.PurePosixPath"),
        (np.zeros(3), "numpy"),
        (np.int64(3), "numpy.dtypes.Int64DType"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
    ],
    ids=["function", "path", "array", "integer", "module"],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, capfd: Any, extra: Any, name: str) -> None:
    path = save(make_checkpoint(STATE, "3d_fullres", extra=extra), tmp_path / "c.pth")
    with pytest.raises(ModelError, match=f"it holds .*({name})") as caught:
        read_checkpoint(path, tmp_path)
    assert caught.value.code == "forbidden_content"
    assert "must not run" not in capfd.readouterr().out


@settings(max_examples=25)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = save(make_checkpoint(STATE, "3d_fullres"), folder / "c.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(share * len(whole)))])
    with pytest.raises(ModelError) as caught:
        read_checkpoint(path, folder)
    assert caught.value.code in ("truncated", "not_a_checkpoint")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = save(make_checkpoint(STATE, "3d_fullres"), tmp_path / "c.pth")
    content = bytearray(path.read_bytes())
    pattern = next(iter(STATE.values())).numpy().tobytes()[:16]
    content[content.index(pattern)] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="checksum"):
        read_checkpoint(path, tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    path.write_text("not a checkpoint")
    with pytest.raises(ModelError, match="no PyTorch checkpoint"):
        read_checkpoint(path, tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(ModelError, match="another archive"):
        read_checkpoint(path, tmp_path)
    rewrite(save(make_checkpoint(STATE, "2d"), path), lambda name, content: content, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="compressed"):
        read_checkpoint(path, tmp_path)
    rewrite(save({}, path), lambda name, content: b"\x80\x02" if name.endswith("data.pkl") else content)
    with pytest.raises(ModelError, match="cannot be read") as caught:
        read_checkpoint(path, tmp_path)
    assert "Traceback" not in caught.value.reason


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    wide = torch.zeros(1).expand(10**12)
    path = save(make_checkpoint(STATE | {"wide": wide}, "3d_fullres"), tmp_path / "c.pth")
    with pytest.raises(ModelError, match="claim") as caught:
        read_checkpoint(path, tmp_path)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network_weights": None}, "no network_weights"),
        ({"network_weights": {"a": 1}}, "no tensor"),
        ({"network_weights": {"a": torch.zeros(2, dtype=torch.complex64)}}, "plain floats"),
        ({"network_weights": {"a": torch.eye(2).to_sparse()}}, "plain floats"),
        ({"init_args": {}}, "init_args.configuration"),
        ({"init_args": {"configuration": "../../outside"}}, "init_args.configuration"),
        ({"trainer_name": 3}, "trainer_name"),
        ({"inference_allowed_mirroring_axes": (0, 7)}, "mirroring_axes"),
        ({"inference_allowed_mirroring_axes": "all"}, "mirroring_axes"),
    ],
)
def test_what_prediction_needs_must_be_there(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    path = save(make_checkpoint(STATE, "3d_fullres") | changes, tmp_path / "c.pth")
    with pytest.raises(MedsegError, match=reason):
        read_checkpoint(path, tmp_path)


def test_no_mirroring_is_no_axis(tmp_path: Path) -> None:
    content = make_checkpoint(STATE, "3d_fullres", inference_allowed_mirroring_axes=None)
    assert read_checkpoint(save(content, tmp_path / "c.pth"), tmp_path)["mirror_axes"] == []
    del content["inference_allowed_mirroring_axes"]
    assert read_checkpoint(save(content, tmp_path / "c.pth"), tmp_path)["mirror_axes"] == []
