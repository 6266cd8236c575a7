"""Names that tell the patient: plain letters whatever the header holds, one a case."""

from pathlib import Path
from typing import Any

import pytest

from medseg.io.case_names import check_case_name
from medseg.io.dicom.identity_names import make_slug, name_by_identity
from medseg.io.dicom.scans import find_scans
from tests.io.dicom_series import pile, write


def names_of(tree: Path) -> list[str]:
    scans = name_by_identity(find_scans(tree, ["CT"]))
    assert [case.name for case in scans.dataset.cases] == sorted(scans.series)
    for name in scans.series:
        check_case_name(name)
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_CT")
        scans.list_files(name)
    return sorted(scans.series)


def test_patient_day_and_series_stand_before_the_key(tmp_path: Path) -> None:
    header = {"PatientID": "P/17 Ä", "StudyDate": "20240501", "SeriesDescription": "Portal venös, 3.0"}
    write(tmp_path, [plane.but(**header) for plane in pile(4)])
    (plain,) = find_scans(tmp_path, ["CT"]).series
    assert names_of(tmp_path) == [f"p-17-a_20240501_portal-venos-3-0_{plain}"]


@pytest.mark.parametrize(
    ("header", "begins"),
    [
        ({"PatientID": "../../etc/passwd", "StudyDate": "20240501"}, "etc-passwd_20240501_"),
        ({"PatientID": "<img src=x onerror=alert(1)>"}, "img-src-x-onerror-alert-1_"),
        ({"PatientID": "", "PatientName": "Doe^Jane", "StudyDate": ""}, "doe-jane_no-date_"),
        ({"PatientID": "", "PatientName": "", "SeriesDescription": ""}, "no-patient-id_"),
        ({"PatientID": "x" * 64}, "x" * 40 + "_"),
        ({"PatientID": "CON", "StudyDate": ""}, "con_no-date_"),
    ],
)
def test_odd_headers_give_plain_names(tmp_path: Path, header: dict[str, Any], begins: str) -> None:
    write(tmp_path, [plane.but(**header) for plane in pile(4)])
    (name,) = names_of(tmp_path)
    assert name.startswith(begins)


def test_alike_patients_stay_apart(tmp_path: Path) -> None:
    for number, patient in enumerate(("P/1", "p 1"), start=1):
        uids = {"SeriesInstanceUID": f"1.2.3.{number}", "StudyInstanceUID": f"1.2.4.{number}"}
        write(tmp_path / str(number), [plane.but(PatientID=patient, **uids) for plane in pile(4)])
    names = names_of(tmp_path)
    assert len(set(names)) == 2
    assert {name[:4] for name in names} == {"p-1_"}


def test_slugs_of_other_alphabets_are_keys() -> None:
    assert make_slug("山田太郎") == make_slug(" 山田太郎 ") != make_slug("山田花子")
    assert len(make_slug("山田太郎")) == 8
    assert make_slug("  ") == ""
