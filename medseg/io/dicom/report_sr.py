"""Writing measurements as a DICOM structured report (TID 1500), tied to the segments that they are about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.core.atomic import atomic_path
from medseg.core.errors import DatasetError, FormatError, MedsegError
from medseg.core.results import Measurement
from medseg.io.dicom.codes import Code, Meaning, find_code, find_meaning
from medseg.io.dicom.identity import copy_identity, list_planes, quiet, read_identity
from medseg.io.dicom.maker import (
    MANUFACTURER,
    Maker,
    describe_software,
    find_version,
    name_algorithm,
    to_concept,
)
from medseg.io.dicom.measured_names import MeasuredName, name_measurement
from medseg.io.dicom.seg_write import WrittenSeg
from medseg.io.dicom.segments import Segment
from medseg.io.dicom.source import DicomSource
from medseg.io.dicom.sr_read import ReportedGroup, ReportedValue, read_report
from medseg.io.dicom.uids import derive_uid, make_uid

# CID 100, by LOINC; what is none of these is an imaging procedure.
_PROCEDURES = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MR unspecified body region"),
    "PT": Code("44139-4", "LN", "PET whole body"),
}
_ANY_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
_DS_ERROR = 1e-8  # a decimal string has 16 characters: beside signs, point and exponent 9 digits at least


@dataclass(frozen=True)
class WrittenReport:
    """A report that was written.

    Args:
        path: the file.
        sop_instance_uid, series_uid: what identifies it.
        groups: what it says.
        left_out: of each reason what was left out for it.
    """

    path: Path
    sop_instance_uid: str
    series_uid: str
    groups: tuple[ReportedGroup, ...]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out and why, a line each."""
        return tuple(f"not in the report, {reason}: {', '.join(names)}" for reason, names in self.left_out.items())


@dataclass(frozen=True)
class _Group:
    """The rows of one lesion or label, its segment where it has one, and what it is."""

    rows: tuple[Measurement, ...]
    segment: Segment | None
    meaning: Meaning


def write_report(
    path: str | Path, rows: Sequence[Measurement], seg: WrittenSeg, source: DicomSource, *, maker: Maker | None = None
) -> WrittenReport:
    """Write the measurements of one scan as a report with a group per lesion and per label.

    Args:
        path: where the report shall stand.
        rows: of the table of measurements, all of one case. Values that are not known are left out: DICOM can state why
            there is none, but its readers stumble over that, highdicom among them.
        seg: the segmentation that was measured, as it was written; lesions are matched by label and number.
        source: the series.
        maker: who or what drew the mask; medseg where None.
    Returns:
        what was written; what was left out is named in its notes.
    Raises:
        DatasetError: there is no row, or rows of several cases.
        FormatError: the series cannot be referred to, or what was written is not what was meant.
        OSError: the disk is full or the folder cannot be written.
    """
    path, maker = Path(path), maker or Maker()
    header = read_identity(source)
    groups = _group_rows(rows, seg, path)
    left_out: dict[str, list[str]] = {}
    named = [(group, _name_rows(group, source.modality, left_out)) for group in groups]
    wanted = tuple(_expect(group, values, seg) for group, values in named)
    with quiet():
        made = [_make_group(group, values, seg, source, maker) for group, values in named]
        # highdicom copies and searches all that it is given, several times: a group that refers to what all refer to
        # will do for it, and the others are put beside that one afterwards.
        lead = next((number for number, (group, _) in enumerate(named) if group.segment is not None), 0)
        content = _make_report([made[lead]], seg, source, maker)
        _find_container(content).ContentSequence = [item for group in made for item in group]
        copy_identity(header, content)
    with atomic_path(path, lambda written: _check(written, wanted)) as temporary, quiet():
        content.save_as(temporary)
    named_out = {reason: tuple(names) for reason, names in left_out.items()}
    return WrittenReport(path, str(content.SOPInstanceUID), str(content.SeriesInstanceUID), wanted, named_out)


def _group_rows(rows: Sequence[Measurement], seg: WrittenSeg, path: Path) -> list[_Group]:
    if not rows or len({row.case for row in rows}) > 1:
        raise DatasetError(
            f"measurements of {len({row.case for row in rows})} cases, a report is about one",
            code="bad_table", file=path, remedy="Give the rows of the case that was segmented",
        )  # fmt: skip
    by_key: dict[tuple[str, int], list[Measurement]] = {}
    for row in rows:
        by_key.setdefault((row.label, row.instance), []).append(row)
    segments = {(segment.label, segment.instance): segment for segment in seg.segments}
    groups = []
    for key, own in by_key.items():
        segment = segments.get(key)
        if key[1] and (key[0], 0) in segments and segment is None and _count_lesions(own, by_key) == 1:
            segment = segments[key[0], 0]  # a label's only lesion is the label
        groups.append(_Group(tuple(own), segment, segment.meaning if segment else find_meaning(key[0])))
    return groups


def _count_lesions(own: Sequence[Measurement], by_key: dict[tuple[str, int], list[Measurement]]) -> int:
    return sum(label == own[0].label and instance > 0 for label, instance in by_key)


def _name_rows(group: _Group, modality: str, left_out: dict[str, list[str]]) -> list[tuple[Measurement, MeasuredName]]:
    """The rows of a group that a report can hold; the others are noted by reason."""
    named: list[tuple[Measurement, MeasuredName]] = []
    for row in group.rows:
        name, what = name_measurement(row, modality), row.quantity
        if name is None:
            reason = "DICOM has no name for them"
        elif not _is_known(row):
            reason, what = "they have no value", f"{row.quantity} of {row.lesion_id or row.label} ({row.status})"
        elif name in (other for _, other in named):
            reason, what = "the report has those of another channel", f"{row.quantity} of {row.definition}"
        else:
            named.append((row, name))
            continue
        if what not in left_out.setdefault(reason, []):
            left_out[reason].append(what)
    return named


def _expect(group: _Group, values: Sequence[tuple[Measurement, MeasuredName]], seg: WrittenSeg) -> ReportedGroup:
    """What a reader of the report must find."""
    name, uid = _track(group, seg)
    segment = None if group.segment is None else (seg.sop_instance_uid, group.segment.number)
    found = (ReportedValue(called.concept, called.derivation, called.unit, row.value) for row, called in values)
    return ReportedGroup(name, uid, segment, tuple(found))


def _track(group: _Group, seg: WrittenSeg) -> tuple[str, str]:
    """The name and the identifier by which a group is followed: a lesion's own, else one of this examination."""
    segment, row = group.segment, group.rows[0]
    if segment is not None and segment.tracking_uid and segment.instance == row.instance:
        return segment.lesion_id, segment.tracking_uid
    name = row.lesion_id or row.label
    return name, derive_uid("measured", seg.sop_instance_uid, row.label, str(row.instance))


def _is_known(row: Measurement) -> bool:
    return row.value is not None and math.isfinite(row.value)


def _make_group(
    group: _Group,
    values: Sequence[tuple[Measurement, MeasuredName]],
    seg: WrittenSeg,
    source: DicomSource,
    maker: Maker,
) -> Any:
    from highdicom import sr

    name, uid = _track(group, seg)
    meaning = group.meaning
    side = to_concept(meaning.side) if meaning.side else None
    place = meaning.region or (meaning.kind if meaning.side else None)
    known: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid=uid, identifier=name),
        "finding_category": to_concept(meaning.category),
        "finding_type": to_concept(meaning.kind),
        "finding_sites": [sr.FindingSite(to_concept(place), laterality=side)] if place else None,
        "measurements": [_make_measurement(row, measured) for row, measured in values],
        "algorithm_id": None if maker.by_hand else sr.AlgorithmIdentification(*name_algorithm(maker)),
    }
    if group.segment is None:
        return sr.MeasurementsAndQualitativeEvaluations(**known)
    referenced = sr.ReferencedSegment(
        seg.sop_class_uid, seg.sop_instance_uid, group.segment.number,
        source_series=sr.SourceSeriesForSegmentation(source.series_uid),
    )  # fmt: skip
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=referenced, **known)


def _make_measurement(row: Measurement, name: MeasuredName) -> Any:
    from highdicom import sr

    assert row.value is not None
    properties = None
    if row.low is not None and row.high is not None:
        properties = sr.MeasurementProperties(
            upper_measurement_uncertainty=row.high - row.value, lower_measurement_uncertainty=row.value - row.low
        )
    return sr.Measurement(
        name=to_concept(name.concept),
        value=float(row.value),
        unit=to_concept(name.unit),
        derivation=to_concept(name.derivation) if name.derivation else None,
        method=to_concept(name.method) if name.method else None,
        properties=properties,
    )


def _make_report(groups: list[Any], seg: WrittenSeg, source: DicomSource, maker: Maker) -> Any:
    from highdicom import sr

    version = find_version()
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derive_uid("device", version), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=MANUFACTURER
    )
    observer = sr.ObserverContext(to_concept(find_code("Device", "DCM")), device)
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=to_concept(_PROCEDURES.get(source.modality, _ANY_PROCEDURE)),
        imaging_measurements=groups,
    )
    return sr.ComprehensiveSR(
        evidence=_list_evidence(seg, source),
        content=report,
        series_instance_uid=maker.series_uid or make_uid(),
        series_number=maker.series_number,
        sop_instance_uid=make_uid(),
        instance_number=1,
        is_complete=True,
        is_verified=False,
        series_description=maker.series_description or "medseg measurements",
        specific_character_set="ISO_IR 192",
        **describe_software(),
    )


def _find_container(content: Any) -> Any:
    """The content item that holds the groups of measurements."""
    wanted = find_code("ImagingMeasurements", "DCM").value
    return next(item for item in content.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == wanted)


def _list_evidence(seg: WrittenSeg, source: DicomSource) -> list[Any]:
    """The objects that the report rests on, as highdicom wants them: the segmentation and the series' files."""
    from pydicom.dataset import Dataset

    planes = {plane.sop_instance_uid: plane.sop_class_uid for plane in list_planes(source)}
    objects = [(seg.sop_class_uid, seg.sop_instance_uid, seg.series_uid)]
    objects += [(kind, uid, source.series_uid) for uid, kind in planes.items()]
    evidence = []
    for kind, uid, series in objects:
        item = Dataset()
        item.SOPClassUID, item.SOPInstanceUID = kind, uid
        item.SeriesInstanceUID, item.StudyInstanceUID = series, source.study_uid
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            setattr(item, keyword, "")
        item.StudyDate = item.StudyTime = None
        evidence.append(item)
    return evidence


def _check(path: Path, wanted: Sequence[ReportedGroup]) -> None:
    """Raise FormatError where a written report does not say what was meant."""
    try:
        found = read_report(path)
    except MedsegError as error:
        raise _differs(f"it cannot be read: {error.reason}", path) from None
    if len(found) != len(wanted):
        raise _differs(f"{len(found)} groups, {len(wanted)} were meant", path)
    for have, want in zip(found, wanted, strict=True):
        same = (have.tracking_id, have.tracking_uid, have.segment) == (
            want.tracking_id,
            want.tracking_uid,
            want.segment,
        )
        if not same or len(have.values) != len(want.values):
            raise _differs("a group is another one or lacks values", path)
        for value, meant in zip(have.values, want.values, strict=True):
            if not _is_same(value, meant):
                raise _differs(f"{meant.concept.meaning} is another", path)


def _is_same(found: ReportedValue, meant: ReportedValue) -> bool:
    if found.value is None or meant.value is None:
        return False
    if not math.isclose(found.value, meant.value, rel_tol=_DS_ERROR, abs_tol=1e-300):
        return False
    return (found.concept, found.derivation, found.unit) == (meant.concept, meant.derivation, meant.unit)


def _differs(reason: str, path: Path) -> FormatError:
    return FormatError(
        f"the written report was read back and differs: {reason}", code="not_read_back", file=path,
        remedy="Nothing was left behind; report this with the table of measurements",
    )  # fmt: skip
