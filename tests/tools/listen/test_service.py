"""From a sender to the archive: what arrives is segmented by rule, as the folder run does it, and sent on."""

import logging
from pathlib import Path

import numpy as np
import pytest

from medseg.inference import Predictor
from medseg.inference.folders.source import predict_source
from medseg.io import read_image
from medseg.io.masks import read_segmentation
from medseg.tools.listen.instances import read_facts
from tests.preprocessing.examples import CLASSES
from tests.tools.listen.examples import (
    associate,
    run_archive,
    run_listener,
    send,
    wait_for,
    work_off,
    write_rules,
    write_series,
)

pytestmark = pytest.mark.usefixtures("collect_sockets")


def test_a_series_becomes_seg_and_sr_in_the_archive(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_series(tmp_path / "scan")
    with run_archive(tmp_path / "archive") as archive:
        rules = write_rules(
            tmp_path / "rules.json", model, archives={"pacs": archive.describe()}, rule={"send_to": ["pacs"]}
        )
        with caplog.at_level(logging.INFO), run_listener(tmp_path / "queue", rules) as (listener, port):
            with associate(port) as association:
                assert association.send_c_echo().Status == 0
            assert send(port, files) == [0] * len(files)
            work_off(listener, "done")
        (name,) = listener.queue.list_cases("done")
        record = listener.queue.read_record("done", name)
        assert record.rules == ("organ",)
        assert record.instances == 5
        assert all(result.sent == ("pacs",) for result in record.results)
        classes = sorted(read_class(path) for path in archive.objects)
    assert classes == ["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"]
    assert "Muster" not in caplog.text
    assert "0815" not in caplog.text
    predict_source(
        Predictor.load(model, device="cpu"), tmp_path / "scan", tmp_path / "folder", file_format="nifti,dicom-seg"
    )
    seg = next(path for path in archive.objects if read_class(path).endswith("66.4"))
    (mask,) = (tmp_path / "folder").glob("*.nii.gz")
    wanted = read_image(mask)
    assert set(np.unique(wanted.array)) == {0, 1, 3}
    found = read_segmentation(seg, labels=CLASSES, like=wanted.geometry)
    assert np.array_equal(found.array, wanted.array[0])


def read_class(path: Path) -> str:
    return read_facts(path).sop_class_uid


def test_what_no_rule_fits_is_kept_as_unused(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model, rule={"body_part": "head*", "description": "*thorax*"})
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, write_series(tmp_path / "head", 1, BodyPartExamined="HEAD"))
        send(port, write_series(tmp_path / "chest", 2, BodyPartExamined="CHEST"))
        send(port, write_series(tmp_path / "other", 3, BodyPartExamined="HEAD", SeriesDescription="legs"))
        work_off(listener, "done", "unused")
        assert len(listener.queue.list_cases("done")) == 1
        assert len(listener.queue.list_cases("unused")) == 2
        for name in listener.queue.list_cases("unused"):
            assert listener.queue.read_record("unused", name).notes == ("no rule fits any of its series",)


def test_what_comes_again_after_a_rule_was_added_is_segmented(tmp_path: Path, model: Path) -> None:
    files = write_series(tmp_path / "scan")
    rules = write_rules(tmp_path / "rules.json", model, rule={"modality": "MR"})
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, files)
        work_off(listener, "unused")
    with run_listener(tmp_path / "queue", write_rules(tmp_path / "rules.json", model)) as (listener, port):
        send(port, files)
        work_off(listener, "done")


def test_localizers_reports_and_pictures_are_no_scans(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model, rule={"modality": ""})
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, write_series(tmp_path / "scout", 1, count=2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
        seg = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "Modality": "SEG"}
        send(port, write_series(tmp_path / "drawn", 2, count=1, **seg), classes=[seg["SOPClassUID"]])
        work_off(listener, "unused")
        notes = {listener.queue.read_record("unused", name).notes[-1] for name in listener.queue.list_cases("unused")}
        said = "a series is no scan to segment: "
        assert notes == {f"{said}a localizer, by its image type", f"{said}it is a segmentation"}


def test_a_bad_series_fails_with_its_reason_and_the_others_go_on(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model)
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        gap = write_series(tmp_path / "gap", 1)
        send(port, gap[:2] + gap[3:])
        send(port, write_series(tmp_path / "good", 2))
        work_off(listener, "done", "failed")
        (failed,) = listener.queue.list_cases("failed")
        (problem,) = listener.queue.read_record("failed", failed).problems
        assert problem.code == "missing_slice"
        assert "mm" in problem.reason
        assert problem.rule == "organ"
        assert len(listener.queue.list_cases("done")) == 1
        # What was missing comes late: the case is made whole and segmented again.
        send(port, gap[2:3])
        work_off(listener, "done")
        assert listener.queue.read_record("done", failed).instances == 5


def test_what_comes_again_is_not_done_again(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model)
    files = write_series(tmp_path / "scan")
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, files)
        work_off(listener, "done")
        (name,) = listener.queue.list_cases("done")
        before = listener.queue.read_record("done", name)
        send(port, files)
        work_off(listener, "done")
        assert listener.queue.read_record("done", name) == before


def test_a_failed_case_that_is_moved_back_is_tried_again(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model, rule={"channels": "c0: SeriesNumber=77"})
    files = write_series(tmp_path / "scan")
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, files)
        work_off(listener, "failed")
        (name,) = listener.queue.list_cases("failed")
        assert listener.queue.read_record("failed", name).problems[0].code == "no_image"
    rules = write_rules(tmp_path / "rules.json", model)
    with run_listener(tmp_path / "queue", rules) as (listener, _):
        (tmp_path / "queue" / "failed" / name).rename(tmp_path / "queue" / "waiting" / name)
        work_off(listener, "done")


def test_a_study_waits_for_all_its_series(tmp_path: Path) -> None:
    from tests.inference.examples import write_model

    write_model(tmp_path / "model", folds=(0,), channels=2)
    rules = write_rules(
        tmp_path / "rules.json", tmp_path / "model", complete="study",
        rule={"channels": "c0: SeriesNumber=1; c1: SeriesNumber=2"},
    )  # fmt: skip
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, write_series(tmp_path / "first", 1))
        send(port, write_series(tmp_path / "second", 2))
        work_off(listener, "done")
        (name,) = listener.queue.list_cases("done")
        record = listener.queue.read_record("done", name)
        assert record.instances == 10
        assert len(record.results) == 2


def test_a_model_of_one_channel_segments_the_fitting_series_of_a_study(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model, complete="study", rule={"description": "*contrast*"})
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, write_series(tmp_path / "first", 1, SeriesDescription="native"))
        send(port, write_series(tmp_path / "second", 2, SeriesDescription="With Contrast"))
        work_off(listener, "done")
        (name,) = listener.queue.list_cases("done")
        assert len(listener.queue.read_record("done", name).results) == 2


def test_an_archive_that_refuses_is_tried_again_and_then_given_up(tmp_path: Path, model: Path) -> None:
    with run_archive(tmp_path / "archive", [0xA700]) as archive:
        rules = write_rules(
            tmp_path / "rules.json", model, archives={"pacs": archive.describe()}, rule={"send_to": ["pacs"]},
            limits={"sending_attempts": 2},
        )  # fmt: skip
        with run_listener(tmp_path / "queue", rules) as (listener, port):
            send(port, write_series(tmp_path / "scan"))
            work_off(listener, "sending")
            (name,) = listener.queue.list_cases("sending")
            assert listener.queue.read_record("sending", name).sendings == {"pacs": 1}
            assert archive.objects == []
            listener.rest_no_more()
            work_off(listener, "done")
            assert len(archive.objects) == 2
            archive.answers += [0, 0xC000, 0xC000]
            send(port, write_series(tmp_path / "other", 2))
            work_off(listener, "done", "sending")
            listener.rest_no_more()
            work_off(listener, "done", "failed")
            (failed,) = listener.queue.list_cases("failed")
            record = listener.queue.read_record("failed", failed)
            assert [problem.code for problem in record.problems] == ["not_sent"]
            assert "0xC000" in record.problems[0].reason
            assert [result.sent for result in record.results] == [("pacs",), ()]


def test_an_archive_that_is_not_there(tmp_path: Path, model: Path) -> None:
    nowhere = {"ae_title": "NOBODY", "host": "127.0.0.1", "port": 1}
    web = {"url": "http://127.0.0.1:1/dicom-web"}
    rules = write_rules(
        tmp_path / "rules.json", model, archives={"pacs": nowhere, "web": web}, rule={"send_to": ["pacs", "web"]},
        limits={"sending_attempts": 1},
    )  # fmt: skip
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, write_series(tmp_path / "scan"))
        work_off(listener, "failed")
        (name,) = listener.queue.list_cases("failed")
        reasons = [problem.reason for problem in listener.queue.read_record("failed", name).problems]
        assert reasons == [
            "not sent to pacs in 1 attempts: C-STORE: no connection",
            "not sent to web in 1 attempts: STOW-RS: ConnectionError",
        ]


def test_old_cases_go(tmp_path: Path, model: Path) -> None:
    rules = write_rules(tmp_path / "rules.json", model, limits={"keep_days": 0})
    with run_listener(tmp_path / "queue", rules) as (listener, port):
        send(port, write_series(tmp_path / "scan"))
        work_off(listener, "done")
        wait_for(lambda: listener.clean() is None and not listener.queue.list_cases("done"), 5)
        assert not list((tmp_path / "queue").rglob("*.dcm"))
