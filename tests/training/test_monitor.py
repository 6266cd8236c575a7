"""What training says: log, event files, one line, alarms."""

import json
import logging
import struct
from pathlib import Path

import pytest

from medseg.training import EpochRecord
from medseg.training.monitor import Monitor, format_epoch, read_record, rewrite_log


def make_record(epoch: int = 1, **options: object) -> EpochRecord:
    values: dict[str, object] = {
        "epoch": epoch,
        "steps": 10 * epoch,
        "total_steps": 100,
        "learning_rate": 0.01,
        "loss": 0.5,
        "validation_loss": None,
        "patch_dice": {"organ": 0.9, "tumour": None},
        "seconds_left": 75.0,
    }
    return EpochRecord(**{**values, **options})  # type: ignore[arg-type]


def test_log_is_json_without_nan_and_comes_back(tmp_path: Path) -> None:
    records = [make_record(1), make_record(2, loss=None, alarms=("look",)), make_record(3, validation_loss=0.25)]
    with Monitor(tmp_path, "title") as monitor:
        for record in records:
            monitor.report(record)

    def refuse(text: str) -> None:
        raise AssertionError(text)

    lines = (tmp_path / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line, parse_constant=refuse)["epoch"] for line in lines] == [1, 2, 3]
    assert [read_record(json.loads(line)) for line in lines] == records
    rewrite_log(tmp_path, records[:2])
    assert (tmp_path / "log.jsonl").read_text("utf-8").splitlines() == lines[:2]
    rewrite_log(tmp_path / "nowhere", [])
    assert not (tmp_path / "nowhere").exists()


def test_event_files_hold_every_known_value(tmp_path: Path) -> None:
    from tensorboard.compat.proto import event_pb2

    with Monitor(tmp_path, "title") as monitor:
        monitor.report(make_record(3))
    content = next(tmp_path.glob("events.*")).read_bytes()
    events, place = [], 0
    while place < len(content):  # TFRecord: length, its checksum, content, its checksum
        (length,) = struct.unpack_from("<Q", content, place)
        events.append(event_pb2.Event.FromString(content[place + 12 : place + 12 + length]))
        place += 16 + length
    values = {value.tag: value.simple_value for event in events for value in event.summary.value}
    assert values == pytest.approx({"loss/training": 0.5, "learning_rate": 0.01, "patch_dice/organ": 0.9})
    assert {event.step for event in events if event.summary.value} == {30}


def test_the_line_on_the_screen(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    line = format_epoch("3d fold 0", make_record())
    assert line == "3d fold 0: 10 %, loss 0.500, patch Dice organ 0.900, tumour -, 1:15 left"
    assert format_epoch("a", make_record(loss=None, patch_dice={})) == "a: 10 %, loss -, patch Dice -, 1:15 left"
    with caplog.at_level(logging.INFO), Monitor(tmp_path, "title") as monitor:
        for epoch in (1, 2, 10):
            monitor.report(make_record(epoch))
    assert [record.message[:12] for record in caplog.records] == ["title: 10 %,", "title: 100 %"]  # first and last


def test_callbacks_hear_every_epoch(tmp_path: Path) -> None:
    heard: list[EpochRecord] = []
    with Monitor(tmp_path, "title", [heard.append, heard.append]) as monitor:
        monitor.report(make_record())
    assert heard == [make_record()] * 2
