"""A series that Orthanc sends to ``medseg listen`` comes back as SEG and SR, with the masks of the folder run."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medseg import pipeline
from medseg.core.records import read_json
from medseg.io import read_image
from medseg.io.dicom.seg_read import read_seg
from medseg.io.dicom.sr_read import read_report
from medseg.io.masks import read_segmentation
from medseg.tools.listen.instances import read_facts
from tests.end_to_end import orthanc_scenario as scenario
from tests.inference.examples import write_model
from tests.preprocessing.examples import CLASSES
from tests.tools.listen.examples import write_series

SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"
NAMESPACES = (["unshare", "--net"], ["unshare", "--map-root-user", "--net"])


def find_namespace() -> list[str]:
    """The words that run a program in a network of its own; skips where that cannot be had."""
    for words in NAMESPACES:
        try:
            if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
                return words
        except FileNotFoundError:
            break
    pytest.skip(
        "programs cannot be run in a network namespace here (unshare --net), and Orthanc is started nowhere else"
    )


@pytest.mark.slow
def test_seg_and_sr_come_back_to_orthanc(tmp_path: Path) -> None:
    for path in (scenario.ORTHANC, scenario.DICOMWEB):
        if not Path(path).is_file():
            pytest.skip(f"{path} is not there: apt-get install orthanc orthanc-dicomweb, or scripts/test --all as root")
    pytest.importorskip("pynetdicom", reason="the extra pacs is not installed")
    words = find_namespace()
    write_model(tmp_path / "model", folds=(2,))
    write_series(tmp_path / "scan", 1)
    study = {"StudyInstanceUID": "1.2.826.0.1.3680043.8.498.77", "StudyDate": "20190101"}
    write_series(tmp_path / "earlier" / "own", 2, **study)
    other = {"StudyInstanceUID": "1.2.826.0.1.3680043.8.498.78", "StudyDate": "20190102", "PatientID": "08150"}
    write_series(tmp_path / "earlier" / "other", 3, **other)
    command = [*words, sys.executable, "-m", "tests.end_to_end.orthanc_scenario", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    log = (tmp_path / "listen.log").read_text() if (tmp_path / "listen.log").is_file() else ""
    assert ended.returncode == 0, f"{ended.stderr[-2000:]}\n{log[-4000:]}"
    report = read_json(tmp_path / "report.json")
    assert report == {"refuses_strangers": True, "refuses_wrong_passwords": True, "exit_code": 143}
    objects = {path: read_facts(path) for path in sorted((tmp_path / "found").iterdir())}
    assert sorted(facts.sop_class_uid for facts in objects.values()) == [SEG, SEG, SR, SR]
    scan = read_facts(next((tmp_path / "scan").iterdir()))
    assert {facts.study_uid for facts in objects.values()} == {scan.study_uid}
    pipeline.predict(tmp_path / "scan", tmp_path / "folder", model=tmp_path / "model", device="cpu")
    (path,) = (tmp_path / "folder").glob("*.nii.gz")
    wanted = read_image(path)
    assert set(np.unique(wanted.array)) == {0, 1, 3}
    for path, facts in objects.items():
        if facts.sop_class_uid == SEG:
            found = read_segmentation(path, labels=CLASSES, like=wanted.geometry)
            assert np.array_equal(found.array, wanted.array[0])
        else:
            assert read_report(path)
    (case,) = (tmp_path / "queue" / "done").iterdir()
    assert [path.name for path in (case / "earlier" / "by_web").iterdir()] != []
    assert len(list(case.glob("earlier/by_web/*/*/*.dcm"))) == 5  # the patient's own, not another's of a similar number
    (earlier,) = case.glob("results/by_web/earlier/*.seg.dcm")
    (now,) = case.glob("results/by_web/*.seg.dcm")
    assert {lesion.tracking_uid for lesion in read_seg(earlier).segments.values()} & {
        lesion.tracking_uid for lesion in read_seg(now).segments.values()
    }  # a lesion that was there before has its identifier again
    for secret in ("Muster", "0815", scenario.PASSWORD):
        assert secret not in log
    assert "Traceback" not in log
