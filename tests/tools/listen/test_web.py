"""DICOMweb services that answer as they should not: nothing is taken for sent, no other patient's scan is used."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from medseg.inference import Predictor
from medseg.inference.folders.source import predict_source
from medseg.io.dicom.seg_read import read_seg
from medseg.tools.listen.applying import Models, apply_rule
from medseg.tools.listen.archives import NotTakenError, open_sender
from medseg.tools.listen.fetching import NotFetchedError, fetch_earlier
from medseg.tools.listen.instances import read_facts
from medseg.tools.listen.receiver import require_pacs
from medseg.tools.listen.rules import Archive, Rules
from tests.tools.listen.examples import write_rules, write_series
from tests.tools.listen.test_multipart import build

STUDY, SERIES = "1.2.826.0.1.3680043.8.498.70", "1.2.826.0.1.3680043.8.498.71"
EARLIER = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "StudyDate": "20190101", "IssuerOfPatientID": "here"}
UID = "1.2.826.0.1.3680043.8.498.99"


@dataclass
class Service:
    """What a service answers, by the beginning of a path: status, content type, body."""

    answers: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def say(self, path: str, content: Any, status: int = 200, kind: str = "application/dicom+json") -> None:
        self.answers[path] = (status, kind, content if isinstance(content, bytes) else json.dumps(content).encode())


@contextlib.contextmanager
def serve() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.asked.append(f"{self.command} {self.path}")
            found = [place for place in service.answers if self.path.startswith(place)]
            status, kind, body = service.answers[max(found, key=len)] if found else (404, "text/plain", b"")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    require_pacs()
    with serve() as found:
        yield found


def post(service: Service, path: Path) -> None:
    with open_sender(Archive(url=service.url), "MEDSEG", [path]) as send:
        send(path)


def stored(*uids: str) -> dict[str, Any]:
    return {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids]}}


def refused(uid: str, reason: int) -> dict[str, Any]:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


def test_what_the_service_says_it_has_is_sent(service: Service, tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, count=1, SOPInstanceUID=UID)
    service.say("/dicom-web/studies", stored(UID))
    post(service, path)
    assert service.asked == ["POST /dicom-web/studies"]


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (200, stored("1.2.3"), "does not say that it was taken"),
        (200, {}, "does not say that it was taken"),
        (200, b"", "does not say that it was taken"),
        (202, {**stored(UID), **refused("1.2.3", 0xA700)}, "0xA700"),
        (409, refused(UID, 0x0110), "HTTP 409"),
        (401, b"", "HTTP 401"),
        (503, b"", "HTTP 503"),
        (307, b"", "HTTP 307"),
        (200, b"not JSON", "JSONDecodeError"),
    ],
)
def test_all_else_is_not_sent(service: Service, tmp_path: Path, status: int, content: Any, said: str) -> None:
    (path,) = write_series(tmp_path, count=1, SOPInstanceUID=UID)
    service.say("/dicom-web/studies", content, status)
    with pytest.raises(NotTakenError, match=said):
        post(service, path)
    assert len(service.asked) == 1  # neither tried again at once nor sent elsewhere


def offer(
    service: Service, files: list[Path], *, patient: str = "0815", date: str = "20190101", drawn: Path | None = None
) -> None:
    """The answers to a search and to a request for one earlier study of one series, and a segmentation of it."""
    studies = {"0020000D": STUDY, "00080020": date, "00100020": patient}
    service.say("/dicom-web/studies", [{tag: {"vr": "UI", "Value": [value]} for tag, value in studies.items()}])
    series = [{"0020000E": SERIES, "00080060": "CT", "0008103E": "thorax"}]
    offered = {SERIES: files}
    if drawn is not None:
        uid = read_facts(drawn).series_uid
        series.append({"0020000E": uid, "00080060": "SEG"})
        offered[uid] = [drawn]
    service.say(
        f"/dicom-web/studies/{STUDY}/series",
        [{tag: {"vr": "UI", "Value": [value]} for tag, value in entry.items()} for entry in series],
    )
    for uid, own in offered.items():
        service.say(
            f"/dicom-web/studies/{STUDY}/series/{uid}", build([path.read_bytes() for path in own]),
            kind='multipart/related; type="application/dicom"; boundary=b0',
        )  # fmt: skip


def make_case(folder: Path, model: Path, service: Service, **header: Any) -> tuple[Path, Rules]:
    write_series(folder / "case" / "scans" / "one", 1, **{"IssuerOfPatientID": "here", **header})
    rules = write_rules(
        folder / "rules.json", model, archives={"web": {"url": service.url}},
        rule={"earlier": {"archive": "web"}, "description": "*thorax*"},
    )  # fmt: skip
    return folder / "case", rules


def fetch(case: Path, rules: Rules) -> tuple[str, ...]:
    return fetch_earlier(case, rules.rules[0], rules)


def test_an_earlier_study_is_fetched_once(service: Service, tmp_path: Path, model: Path) -> None:
    case, rules = make_case(tmp_path, model, service)
    offer(service, write_series(tmp_path / "earlier", 2, **EARLIER))
    assert fetch(case, rules) == ("organ: earlier studies: 1",)
    assert len(list(case.glob("earlier/organ/*/*/*.dcm"))) == 5
    asked = len(service.asked)
    fetch(case, rules)
    assert len(service.asked) == asked + 1


def test_a_study_without_such_a_series_does_not_count(service: Service, tmp_path: Path, model: Path) -> None:
    case, rules = make_case(tmp_path, model, service)
    offer(service, write_series(tmp_path / "earlier", 2, **EARLIER))
    (older,) = json.loads(service.answers["/dicom-web/studies"][2])
    newer = {**older, "0020000D": {"vr": "UI", "Value": ["1.2.9"]}, "00080020": {"vr": "DA", "Value": ["20190601"]}}
    service.say("/dicom-web/studies", [older, newer])
    service.say(
        "/dicom-web/studies/1.2.9/series", [{"0020000E": {"Value": ["1.2.9.1"]}, "00080060": {"Value": ["CR"]}}]
    )
    assert fetch(case, rules) == ("organ: earlier studies: 1",)
    assert len(list(case.glob("earlier/organ/*/*/*.dcm"))) == 5


def test_lesions_go_on_from_the_archive_s_masks(service: Service, tmp_path: Path, model: Path) -> None:
    files = write_series(tmp_path / "earlier", 2, **EARLIER)
    predict_source(Predictor.load(model, device="cpu"), tmp_path / "earlier", tmp_path / "drawn", file_format="sr")
    (drawn,) = (tmp_path / "drawn").glob("*.seg.dcm")
    case, rules = make_case(tmp_path, model, service)
    offer(service, files, drawn=drawn)
    made = apply_rule(case, "organ", rules, Models("cpu"), fetch=True)
    assert made.problems == ()
    assert made.notes == ("organ: earlier studies: 1",)
    (now,) = (case / "results" / "organ").glob("*.seg.dcm")
    before, after = ({one.tracking_uid for one in read_seg(path).segments.values()} for path in (drawn, now))
    assert before == after
    assert not (case / "results" / "organ" / "earlier").exists()  # whose masks there are already


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"PatientID": "0816"}, "another patient's"),
        ({"PatientBirthDate": "19710101"}, "another patient's"),
        ({"IssuerOfPatientID": "another hospital"}, "another patient's"),
        ({"SeriesInstanceUID": "1.2.3"}, "another series"),
        ({"StudyInstanceUID": "1.2.3"}, "another series"),
    ],
)
def test_another_patient_s_scan_is_never_used(
    service: Service, tmp_path: Path, model: Path, header: dict[str, str], said: str
) -> None:
    case, rules = make_case(tmp_path, model, service)
    offer(service, write_series(tmp_path / "earlier", 2, **{**EARLIER, **header}))
    with pytest.raises(NotFetchedError, match=said):
        fetch(case, rules)
    assert not list(case.glob("earlier/organ/*/*/*"))


@pytest.mark.parametrize(
    "found", [{"patient": "08150"}, {"patient": "815"}, {"date": "20200102"}, {"date": "20210101"}]
)
def test_other_patients_and_later_studies_are_passed_over(
    service: Service, tmp_path: Path, model: Path, found: dict[str, str]
) -> None:
    case, rules = make_case(tmp_path, model, service)
    offer(service, [], **found)
    assert fetch(case, rules) == ("organ: earlier studies: 0",)
    assert len(service.asked) == 1


@pytest.mark.parametrize("header", [{"PatientID": "08*"}, {"PatientID": ""}, {"StudyDate": ""}, {"StudyDate": None}])
def test_without_a_plain_patient_or_date_nothing_is_asked(
    service: Service, tmp_path: Path, model: Path, header: dict[str, str]
) -> None:
    case, rules = make_case(tmp_path, model, service, **header)
    (note,) = fetch(case, rules)
    assert "no plain patient ID or no study date" in note
    assert service.asked == []


def test_a_damaged_instance_is_refused(service: Service, tmp_path: Path, model: Path) -> None:
    case, rules = make_case(tmp_path, model, service)
    files = write_series(tmp_path / "earlier", 2, **EARLIER)
    files[2].write_bytes(files[2].read_bytes()[:-50])
    offer(service, files)
    with pytest.raises(NotFetchedError, match="truncated"):
        fetch(case, rules)
    assert not list(case.glob("earlier/organ/*/*/*"))


def test_no_address_is_in_reasons_and_logs(
    service: Service, tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case, rules = make_case(tmp_path, model, service)
    with caplog.at_level(logging.DEBUG), pytest.raises(NotFetchedError, match="HTTP 404") as raised:
        fetch(case, rules)
    assert "0815" not in str(raised.value) + caplog.text
    assert "PatientID=0815" in service.asked[0]
