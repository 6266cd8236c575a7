"""Damaged prepared files through the command line: named with the remedy, and the remedy works."""

from pathlib import Path

from medseg.core.plan import Configuration
from medseg.core.records import read_json
from tests.end_to_end.command_line import medseg
from tests.end_to_end.scans import write_data_set

FEW = ["--epochs", "1", "--set", "iterations_per_epoch=4", "--set", "batch_size=2", "--device", "cpu"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_damaged_prepared_case_is_named_and_mended(tmp_path: Path) -> None:
    data, space = write_data_set(tmp_path / "data"), tmp_path / "w"
    assert medseg("plan", data, "--workspace", space, "--preset", "cpu").code == 0
    assert medseg("preprocess", "--workspace", space, "--configuration", "2d").code == 0
    fold = read_json(space / "folds.json")[0]
    train = ["train", "--workspace", space, "--configuration", "2d", "--fold", "0", "--sampling", "lesion", *FEW]
    prepared = space / "prepared" / "2d"
    for case in fold["train"][1:]:
        cut(prepared / f"{case}.b2nd")
    bad = fold["train"][1]

    ended = medseg(*train)
    assert ended.code == 3
    for part in (f"{bad}.b2nd", "damaged", "Delete it and run medseg preprocess again"):
        assert part in ended.about(bad)
    run = space / "runs" / "2d" / "fold_0"
    assert Configuration.read(run / "configuration.json").training.sampling == "lesion"
    refused = {case["case"] for case in read_json(run / "run.json")["cases"] if case["status"] == "refused"}
    assert bad in refused

    cut(prepared / f"{fold['train'][0]}.b2nd")
    ended = medseg(*train, "--restart")
    assert ended.code == 2
    assert f"none of its {len(fold['train'])} cases can be read" in ended.lines[-1]

    for case in fold["train"]:
        (prepared / f"{case}.b2nd").unlink()
    assert medseg("preprocess", "--workspace", space, "--configuration", "2d").code == 0
    assert medseg(*train, "--restart").code == 0
