"""Earlier studies of a case's patient, found by QIDO-RS and fetched by WADO-RS."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medseg.core import atomic
from medseg.core.disk import require_room
from medseg.core.errors import MedsegError
from medseg.io.dicom.identity import is_uid
from medseg.tools.listen.archives import ANSWER_S, CONNECTION_S, DicomWeb, explain_http, open_dicomweb
from medseg.tools.listen.completeness import list_received
from medseg.tools.listen.instances import Facts, inspect_instance, make_key
from medseg.tools.listen.multipart import find_boundary, read_parts
from medseg.tools.listen.queue import EARLIER
from medseg.tools.listen.rules import Rule, Rules

_DATE = re.compile(r"^\d{8}$")
_WILDCARDS = frozenset("*?\\")
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PIECE_BYTES = 1 << 20
_SEGMENTATION = "SEG"
# Of a patient's studies, so many are looked through; of one, so many series are fetched.
_MOST_STUDIES, _MOST_SERIES = 200, 8


class NotFetchedError(Exception):
    """Earlier studies could not be looked for or fetched; says why, without what names a patient."""


def fetch_earlier(case: Path, rule: Rule, rules: Rules) -> tuple[str, ...]:
    """Put earlier studies of a case's patient beside its scans; what is there already is not fetched again.

    Args:
        case: its folder; studies go to ``earlier/RULE``.
        rule: with ``earlier``; of a study those series are fetched that it fits, and masks; where whole studies are
            segmented, all series of the case's modalities.
        rules: for the archive and the limits.
    Returns:
        notes: how many studies there are, or why there can be none.
    Raises:
        NotFetchedError: the archive did not answer as it should.
        OSError: the disk does not take it.
    """
    scans = [series.facts for series in list_received(case) if not series.reason]
    now = next((facts for facts in scans if rule.fits(facts)), None)
    if rule.earlier is None or now is None:
        return ()
    if not now.patient_id or _WILDCARDS & set(now.patient_id) or not _DATE.match(now.study_date):
        return (f"{rule.name}: no earlier studies: the scan has no plain patient ID or no study date",)
    service = open_dicomweb(rules.archives[rule.earlier.archive])
    whole = rules.complete == "study"
    wanted = _Wanted(now, rule, rules, tuple(dict.fromkeys(facts.modality for facts in scans if whole or facts is now)))
    count = 0
    try:
        for study in _find_studies(service, now):
            place = case / EARLIER / rule.name / make_key(study)
            count += place.is_dir() or _fetch_study(service, place, study, wanted)
            if count == rule.earlier.studies:
                break
    except MedsegError as error:
        raise NotFetchedError(f"{rule.earlier.archive}: {error.reason}") from None
    return (f"{rule.name}: earlier studies: {count}",)


@dataclass(frozen=True)
class _Wanted:
    """Which series of an earlier study are fetched."""

    now: Facts
    rule: Rule
    rules: Rules
    modalities: tuple[str, ...]

    def may_fit(self, entry: Mapping[str, Any]) -> bool:
        """Whether a series that a search found may be wanted; what the search does not tell may be anything."""
        rule = self.rule
        told = Facts("", "", "", "", self.now.modality, description=_read_value(entry, "0008103E"))
        return self.fits(replace(told, body_part=rule.body_part)) or not told.description

    def fits(self, facts: Facts) -> bool:
        """Whether an instance is wanted."""
        return facts.modality == _SEGMENTATION or self.rules.complete == "study" or self.rule.fits(facts)


def _find_studies(service: DicomWeb, now: Facts) -> list[str]:
    """The studies before this one, the latest first."""
    entries = _ask(
        service.client.search_for_studies,
        search_filters={"PatientID": now.patient_id},
        fields=["StudyDate", "PatientID"],
        limit=_MOST_STUDIES,
    )
    found = []
    for entry in entries:
        study, date = _read_value(entry, "0020000D"), _read_value(entry, "00080020")
        # Services may take letters of either size, or a part, for the same.
        if _read_value(entry, "00100020") != now.patient_id or not is_uid(study) or study == now.study_uid:
            continue
        if _DATE.match(date) and date < now.study_date:
            found.append((date, study))
    return [study for _, study in sorted(found, reverse=True)]


def _fetch_study(service: DicomWeb, place: Path, study: str, wanted: _Wanted) -> bool:
    """Fetch what is wanted of a study, and its masks; False where there is no such series."""
    found = [_find_series(service, study, modality) for modality in wanted.modalities]
    series = [uid for own in found for uid, entry in own.items() if wanted.may_fit(entry)][:_MOST_SERIES]
    if not series:
        return False
    drawn = list(_find_series(service, study, _SEGMENTATION))[:_MOST_SERIES]
    with atomic.atomic_folder(place) as temporary:
        for uid in (*series, *drawn):
            _fetch_series(service, temporary / make_key(uid), (study, uid), wanted)
    return True


def _find_series(service: DicomWeb, study: str, modality: str) -> dict[str, Any]:
    """A study's series of a modality, by unique identifier."""
    entries = _ask(service.client.search_for_series, study, search_filters={"Modality": modality})
    # Some services pass over what they cannot search for.
    found = {_read_value(entry, "0020000E"): entry for entry in entries if _read_value(entry, "00080060") == modality}
    return {uid: entry for uid, entry in found.items() if is_uid(uid)}


def _fetch_series(service: DicomWeb, folder: Path, uids: tuple[str, str], wanted: _Wanted) -> None:
    limits, total = wanted.rules.limits, 0
    address = f"{service.url}/studies/{uids[0]}/series/{uids[1]}"
    for content in _iterate_instances(service, address, int(limits.instance_mb * 1e6)):
        total += len(content)
        require_room(folder.parent.parent, len(content), "an earlier study")
        if total > limits.queue_gb * 1e9:
            raise NotFetchedError(f"a series of more than {limits.queue_gb:g} GB")
        path = folder / f"{secrets.token_hex(8)}.dcm"
        atomic.write_bytes(path, content)
        facts = inspect_instance(path)
        if (facts.study_uid, facts.series_uid) != uids:
            raise NotFetchedError("it sent instances of another series than was asked for")
        if not facts.is_of_same_patient(wanted.now):
            raise NotFetchedError("it sent another patient's instances")
        if not wanted.fits(facts):
            path.unlink()  # such as another body part, which the answer to the search need not tell


def _iterate_instances(service: DicomWeb, address: str, largest: int) -> Iterator[bytes]:
    # The client parses whatever comes, of any size; here it comes piece by piece and is looked at before.
    answer = _ask(
        service.session.get, address, headers={"Accept": _ACCEPT}, stream=True, timeout=(CONNECTION_S, ANSWER_S)
    )
    with answer:
        _ask(answer.raise_for_status)
        boundary = find_boundary(answer.headers.get("Content-Type", ""))
        try:
            yield from read_parts(answer.iter_content(_PIECE_BYTES), boundary, largest)
        except OSError as error:
            raise NotFetchedError(f"WADO-RS: {explain_http(error)}") from None


def _ask(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except Exception as error:  # the client raises errors of every kind on answers that are none
        raise NotFetchedError(f"no answer that can be used: {explain_http(error)}") from None


def _read_value(entry: Any, tag: str) -> str:
    """An element's first value in DICOM's JSON; empty where there is none."""
    try:
        return str(entry[tag]["Value"][0]).strip()
    except (KeyError, IndexError, TypeError):
        return ""
