"""The record of what is done: by content, not by name or time; and shared by several processes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medseg.core.dataset import Case, ImageSource
from medseg.core.errors import FormatError, ResourceError
from medseg.core.manifest import CaseOutcome, hash_file, read_run
from medseg.core.records import read_json
from medseg.inference.folders.finished import Entry, RunRecord, hash_inputs, name_run

SETTINGS = {"model": "m", "overlap": "0.5"}
DETAILS = {"model": "m", "labels": {"background": 0, "organ": 1}}


def make_case(folder: Path, name: str, content: str = "scan") -> Case:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.nii.gz"
    path.write_text(content + name, "utf-8")
    return Case(name, (ImageSource(path),))


def do(record: RunRecord, case: Case) -> CaseOutcome:
    """What a run does with a case: nothing where it is done."""
    inputs = hash_inputs(case)
    entry = record.find_finished(case, inputs)
    if entry is None:
        mask = record.output / f"{case.name}.nii.gz"
        mask.parent.mkdir(exist_ok=True)
        mask.write_text(f"mask of {case.name}", "utf-8")
        outcome = CaseOutcome(case.name, "done", inputs=tuple(inputs), outputs={mask.name: hash_file(mask)})
        entry = Entry(outcome, inputs, ("it is odd",) if case.name == "odd" else ())
    return record.add(entry)


def run(output: Path, cases: list[Case], part: tuple[int, int] | None = None, **settings: str) -> list[str]:
    record = RunRecord(output, part, {**SETTINGS, **settings}, DETAILS)
    statuses = [do(record, case).status for case in cases]
    record.finish()
    return statuses


def statuses_in(path: Path) -> dict[str, str]:
    return {case["case"]: case["status"] for case in read_json(path)["cases"]}


def test_hashes_of_every_file_once(tmp_path: Path) -> None:
    case = make_case(tmp_path, "a")
    path = case.images[0].path
    four = Case("a", tuple(ImageSource(path, index) for index in range(4)))
    assert hash_inputs(case) == hash_inputs(four) == {str(path): hash_file(path)}
    header = tmp_path / "b.mhd"
    header.write_text("NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = b.raw\n", "utf-8")
    (tmp_path / "b.raw").write_bytes(b"1234")
    apart = hash_inputs(Case("b", (ImageSource(header),)))
    assert apart == {str(header): hash_file(header), str(tmp_path / "b.raw"): hash_file(tmp_path / "b.raw")}


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "empty"])
def test_what_has_no_content_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)  # reading it would wait for ever
    elif kind == "empty":
        path.touch()
    with pytest.raises(FormatError):
        hash_inputs(Case("a", (ImageSource(path),)))


def test_content_counts_not_name_or_time(tmp_path: Path) -> None:
    cases = [make_case(tmp_path / "in", name) for name in ("a", "b", "odd")]
    output = tmp_path / "out"
    assert run(output, cases) == ["done"] * 3
    assert run(output, cases) == ["skipped"] * 3
    os.utime(cases[0].images[0].path, (1, 1))
    moved = Path((tmp_path / "in").rename(tmp_path / "moved"))
    again = [Case(case.name, (ImageSource(moved / case.images[0].path.name),)) for case in cases]
    assert run(output, again) == ["skipped"] * 3
    content = read_json(output / "run.json")
    assert content["cases"][0]["inputs"] == [str(moved / "a.nii.gz")]
    assert content["inputs"]["b"] == {str(moved / "b.nii.gz"): hash_file(moved / "b.nii.gz")}
    assert content["warnings"] == ["odd: it is odd"]  # of a case that was not done again


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    cases, output = [make_case(tmp_path / "in", name) for name in "ab"], tmp_path / "out"
    run(output, cases)
    path = cases[0].images[0].path
    before = path.stat()
    path.write_text("SCANa", "utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert run(output, cases) == ["done", "skipped"]
    (output / "a.nii.gz").write_text("mask of A", "utf-8")
    (output / "b.nii.gz").unlink()
    assert run(output, cases) == ["done", "done"]
    assert run(output, cases, overlap="0.25") == ["done", "done"]
    assert run(output, cases) == ["done", "done"]


def test_cases_of_other_folders_stay_in_the_record_while_their_masks_are_there(tmp_path: Path) -> None:
    a, b = make_case(tmp_path / "one", "a"), make_case(tmp_path / "two", "b")
    output = tmp_path / "out"
    run(output, [a])
    run(output, [b])
    assert statuses_in(output / "run.json") == {"a": "done", "b": "done"}
    assert run(output, [a]) == ["skipped"]
    (output / "b.nii.gz").unlink()
    run(output, [a])
    assert statuses_in(output / "run.json") == {"a": "skipped"}


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": 1}', '{"settings": {"model": "m", "overlap": "0.5"}}'])
def test_a_damaged_record_is_no_record(content: str, tmp_path: Path) -> None:
    cases = [make_case(tmp_path / "in", "a")]
    run(tmp_path / "out", cases)
    (tmp_path / "out" / "run.json").write_text(content, "utf-8")
    assert run(tmp_path / "out", cases) == ["done"]


def test_parts_note_their_cases_apart_and_are_put_together(tmp_path: Path) -> None:
    cases, output = [make_case(tmp_path / "in", name) for name in "abcdef"], tmp_path / "out"
    records = [RunRecord(output, (number, 2), SETTINGS, DETAILS) for number in (1, 2)]
    assert read_run(output)["labels"] == DETAILS["labels"]  # before anything is done
    for record, own in zip(records, (cases[::2], cases[1::2]), strict=True):
        for case in own:
            do(record, case)
    records[0].finish()
    assert statuses_in(output / "run-1-of-2.json") == dict.fromkeys("ace", "done")
    records[1].finish()
    assert statuses_in(output / "run-2-of-2.json") == dict.fromkeys("bdf", "done")
    assert statuses_in(output / "run.json") == dict.fromkeys("abcdef", "done")
    assert read_json(output / "run.json")["inputs"].keys() == set("abcdef")
    # Other parts find what is done, and all cases at once take the parts over.
    assert run(output, cases[:3], (1, 4)) == ["skipped"] * 3
    assert run(output, cases) == ["skipped"] * 6
    assert sorted(path.name for path in output.glob("*.json")) == ["run.json"]
    assert statuses_in(output / "run.json") == dict.fromkeys("abcdef", "skipped")


def test_parts_of_other_settings_are_left_out(tmp_path: Path) -> None:
    cases, output = [make_case(tmp_path / "in", name) for name in "ab"], tmp_path / "out"
    run(output, cases[:1], (1, 2), overlap="0.25")
    run(output, cases[1:], (2, 2))
    content = read_json(output / "run.json")
    assert statuses_in(output / "run.json") == {"b": "done"}
    assert content["settings"] == SETTINGS
    assert run(output, cases) == ["done", "skipped"]
    assert (output / "run-1-of-2.json").is_file()  # its case is not in run.json


def test_parts_that_end_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    output, parts = tmp_path / "out", 6
    cases = [make_case(tmp_path / "in", f"{number:02d}") for number in range(5 * parts)]
    for _ in range(5):
        with ThreadPoolExecutor(parts) as pool:
            ended = pool.map(lambda n: run(output, cases[n - 1 :: parts], (n, parts)), range(1, parts + 1))
            assert [len(statuses) for statuses in ended] == [5] * parts
        assert set(statuses_in(output / "run.json")) == {case.name for case in cases}
        for path in output.iterdir():
            path.unlink()


def test_processes_share_a_folder(tmp_path: Path) -> None:
    """Real processes, each with half the cases, started together."""
    for name in "abcd":
        make_case(tmp_path / "in", name)
    words = (
        "import sys; from pathlib import Path; from medseg.core.dataset import Case, ImageSource;"
        "from tests.inference.folders.test_finished import run;"
        "root, n = Path(sys.argv[1]), int(sys.argv[2]);"
        "cases = [Case(p.name[0], (ImageSource(p),)) for p in sorted((root / 'in').iterdir())];"
        "run(root / 'out', cases[n - 1::2], (n, 2))"
    )
    command = [sys.executable, "-c", words, str(tmp_path)]
    root = Path(__file__).parents[3]
    started = [subprocess.Popen([*command, number], cwd=root) for number in ("1", "2")]
    assert [process.wait(120) for process in started] == [0, 0]
    assert statuses_in(tmp_path / "out" / "run.json") == dict.fromkeys("abcd", "done")


def test_a_folder_that_cannot_be_written_refuses_the_case(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("no folder", "utf-8")
    record = RunRecord(tmp_path / "out", None, SETTINGS, DETAILS)
    outcome = record.add(Entry(CaseOutcome("a", "done"), {}))
    assert (outcome.case, outcome.status, outcome.code) == ("a", "refused", "cannot_write")
    with pytest.raises(ResourceError, match="cannot be written"):
        record.finish()


def test_names_of_records() -> None:
    assert [name_run(None), name_run((2, 10))] == ["run.json", "run-2-of-10.json"]
