"""What is done already, and the record of it: ``run.json``, or a file of its own for each part of a shared folder.

Where one process does all cases, it writes ``run.json``. Where several share a folder (part 1 of 4, 2 of 4, ...), each
writes ``run-1-of-4.json``, which no other process touches, and puts all such files together into ``run.json`` when it
begins and when it ends; so whoever reads ``run.json`` finds labels and model at once and every case in the end. A later
run of all cases takes the parts' cases over and removes their files.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medseg.core.dataset import Case
from medseg.core.disk import explain_write, is_disk_fault
from medseg.core.errors import DatasetError, MedsegError, ResourceError
from medseg.core.manifest import CaseOutcome, hash_file, name_time, outcome_of_error
from medseg.core.records import read_json, write_json
from medseg.io.grid_header import find_data_file
from medseg.io.guard import check_regular

logger = logging.getLogger(__name__)

Part = tuple[int, int]

RUN = "run.json"
_PART_FILE = re.compile(r"^run-\d+-of-\d+\.json$")
_COUNTED = ("done", "skipped")
# Of a run's time, at most this share goes into noting what is done.
NOTING_SHARE = 0.05
# While other parts go on, their records change all the time; theirs will be the last word.
_UNITING_TRIES = 50


@dataclass(frozen=True)
class Entry:
    """What a run's record says of one case.

    Args:
        outcome: what became of it.
        inputs: each file it was read from, by its path, and its SHA-256.
        warnings: what is unusual about the scan.
        member_volumes_ml: by label the volume in each network's own mask; empty for a single network.
        objects: each DICOM object that was written, by its file, and what it holds, in words.
    """

    outcome: CaseOutcome
    inputs: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    member_volumes_ml: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)


def name_run(part: Part | None) -> str:
    """The file that a process notes its cases in."""
    return RUN if part is None else f"run-{part[0]}-of-{part[1]}.json"


def hash_inputs(case: Case, files: Iterable[Path] = ()) -> dict[str, str]:
    """The SHA-256 of every file that a case is read from.

    Args:
        case: names the files.
        files: further ones: those of a DICOM series, of which the case names the first.
    Returns:
        path to hash, in the order of the channels; the voxels' file too where a header stands apart from them.
    Raises:
        FormatError: a file is missing, or none that can be read to its end (a folder, a pipe).
        DatasetError: a file cannot be read.
    """
    named = (path for source in case.images for path in (source.path, find_data_file(source.path)))
    paths = dict.fromkeys((*named, *files))
    hashes = {}
    for path in paths:
        check_regular(path)
        try:
            hashes[str(path)] = hash_file(path)
        except OSError as error:
            raise DatasetError(f"the file cannot be read: {error.strerror}", case=case.name, file=path) from None
    return hashes


def list_inputs(case: Case) -> tuple[str, ...]:
    """The files that a case names, one per channel."""
    return tuple(str(source.path) for source in case.images)


class RunRecord:
    """What is done in an output folder, before this run and by it; threads may use it.

    Args:
        output: the folder.
        part: which part of the cases this process does; None for all.
        settings: of this run; what an earlier one did with other settings is not taken for done.
        details: further entries of the record: model, labels, ...
    """

    def __init__(
        self, output: Path, part: Part | None, settings: Mapping[str, str], details: Mapping[str, Any]
    ) -> None:
        self.output, self.part = output, part
        self.settings, self.details = dict(settings), dict(details)
        self.started = name_time()
        self._lock = threading.Lock()
        self._due = 0.0
        runs = _read_runs(output, self.settings)
        self._known: dict[str, list[Entry]] = {}
        for run in runs:
            for entry in run.entries:
                if entry.outcome.status in _COUNTED:
                    self._known.setdefault(entry.outcome.case, []).append(entry)
        self._entries = {
            case: entries[0]
            for case, entries in self._known.items()
            if all((output / name).is_file() for name in entries[0].outcome.outputs)
        }
        if part is not None:
            own = next((run for run in runs if run.file == name_run(part)), None)
            self._entries = {entry.outcome.case: entry for entry in (own.entries if own else ())}
            if not (output / RUN).is_file():
                self._unite()

    def find_finished(self, case: Case, inputs: Mapping[str, str]) -> Entry | None:
        """What the record says of a case that was done before and of which nothing has changed since, else None.

        Args:
            case: to look for.
            inputs: its files' hashes; the files may have moved.
        Returns:
            the entry, ``skipped``, with the names and hashes of its masks, which are as they were written.
        """
        for entry in self._known.get(case.name, ()):
            if list(entry.inputs.values()) == list(inputs.values()) and self._still_there(entry.outcome.outputs):
                outcome = replace(entry.outcome, status="skipped", inputs=list_inputs(case))
                return replace(entry, outcome=outcome, inputs=dict(inputs))
        return None

    def _still_there(self, files: Mapping[str, str]) -> bool:
        try:
            return bool(files) and all(hash_file(self.output / name) == digest for name, digest in files.items())
        except OSError:
            return False

    def add(self, entry: Entry) -> CaseOutcome:
        """Note what became of a case; the file is written anew where that takes little of the run's time.

        Args:
            entry: of the case.
        Returns:
            its outcome: refused where the file could not be written.
        """
        with self._lock:
            self._entries[entry.outcome.case] = entry
            before = time.monotonic()
            if before >= self._due:
                try:
                    self._write(name_run(self.part), self._entries.values(), self.started)
                except ResourceError as error:
                    if is_disk_fault(error):
                        raise
                    refused = outcome_of_error(error, entry.outcome.case)
                    self._entries[entry.outcome.case] = Entry(refused, entry.inputs)
                    return refused
                self._due = before + (time.monotonic() - before) / NOTING_SHARE
        return entry.outcome

    def finish(self) -> None:
        """Write the record for good, and put it together with those of other parts.

        Raises:
            ResourceError: the folder cannot be written.
        """
        with self._lock:
            self._write(name_run(self.part), self._entries.values(), self.started)
            if self.part is not None:
                self._unite()
                return
            for run in _read_runs(self.output, self.settings):
                if run.file != RUN:
                    (self.output / run.file).unlink(missing_ok=True)

    def _unite(self) -> None:
        # Another part may end at the same time and write what it read before this one did. Whoever writes looks
        # afterwards whether a part has changed since it was read, so the last one to write has seen them all.
        for _ in range(_UNITING_TRIES):
            seen = _list_parts(self.output)
            runs = _read_runs(self.output, self.settings)
            united: dict[str, Entry] = {}
            for run in reversed(runs):  # the latest run's word counts
                united |= {entry.outcome.case: entry for entry in run.entries}
            self._write(RUN, united.values(), min((run.started for run in runs), default=self.started))
            if seen == _list_parts(self.output):
                return

    def _write(self, file: str, entries: Iterable[Entry], started: str) -> None:
        from medseg import __version__

        listed = sorted(entries, key=lambda entry: entry.outcome.case)
        content = {
            "version": __version__,
            "command": "predict",
            "started": started,
            "cases": [asdict(entry.outcome) for entry in listed],
            "inputs": {entry.outcome.case: dict(entry.inputs) for entry in listed if entry.inputs},
            "settings": self.settings,
            "warnings": [f"{entry.outcome.case}: {text}" for entry in listed for text in entry.warnings],
            "member_volumes_ml": {
                entry.outcome.case: dict(entry.member_volumes_ml) for entry in listed if entry.member_volumes_ml
            },
            "objects": {name: text for entry in listed for name, text in entry.objects.items()},
            **self.details,
        }
        try:
            write_json(self.output / file, content)
        except OSError as error:
            raise explain_write(error, self.output / file) from None


@dataclass(frozen=True)
class _Run:
    file: str
    started: str
    entries: tuple[Entry, ...]


def _list_parts(output: Path) -> dict[str, tuple[int, int]]:
    """The records of parts, by name; size and time tell whether one has been written anew."""
    listed = {}
    for path in sorted(output.glob("run-*-of-*.json")):
        if _PART_FILE.match(path.name):
            status = path.stat()
            listed[path.name] = (status.st_ino, status.st_mtime_ns)
    return listed


def _read_runs(output: Path, settings: Mapping[str, str]) -> list[_Run]:
    """The records in a folder that were made with the same settings, the latest first, parts before the whole."""
    names = [*_list_parts(output), RUN]
    runs = [run for name in names if (run := _read_run(output / name, settings)) is not None]
    return sorted(runs, key=lambda run: run.started, reverse=True)


def _read_run(path: Path, settings: Mapping[str, str]) -> _Run | None:
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if content["settings"] != settings:
            return None
        return _Run(path.name, str(content["started"]), tuple(_read_entry(case, content) for case in content["cases"]))
    except (MedsegError, AttributeError, KeyError, TypeError, ValueError):
        logger.warning("%s is damaged or of an older version; its cases are done again", path)
        return None


def _read_entry(case: Mapping[str, Any], content: Mapping[str, Any]) -> Entry:
    outcome = CaseOutcome(**{**case, "inputs": tuple(case["inputs"])})
    mark = f"{outcome.case}: "
    warnings = tuple(text.removeprefix(mark) for text in content["warnings"] if text.startswith(mark))
    volumes = content.get("member_volumes_ml", {}).get(outcome.case, {})
    members = {label: tuple(map(float, own)) for label, own in volumes.items()}
    known = content.get("objects", {})
    objects = {name: str(known[name]) for name in outcome.outputs if name in known}
    return Entry(outcome, dict(content["inputs"].get(outcome.case, {})), warnings, members, objects)
