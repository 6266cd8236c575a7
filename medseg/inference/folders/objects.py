"""Masks and measurements as DICOM objects, for scans that were read from DICOM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medseg.core.disk import explain_write
from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.inference.folders.writing import KEY_PICTURES, MASK_APART, OBJECTS
from medseg.inference.predictor import Prediction, Predictor
from medseg.io.dicom.source import DicomSource
from medseg.io.probabilities import name_channels

if TYPE_CHECKING:
    from medseg.inference.folders.following import Following
    from medseg.io.dicom.codes import Meaning
    from medseg.io.dicom.maker import Maker
    from medseg.io.dicom.seg_write import WrittenSeg
    from medseg.io.dicom.segments import TrackedLesion

Contours = Literal["exact", "smooth"]
SegType = Literal["binary", "labelmap", "fractional"]

_DIGEST_DIGITS = 12  # of a model's hash; DICOM's short texts take 16 characters
_OF_MASKS = ("sr", "key-pictures")


@dataclass(frozen=True)
class ObjectOptions:
    """How DICOM objects are written.

    Args:
        contours: of RTSTRUCT: ``exact``, along voxel edges, or ``smooth``.
        seg_type: of SEG: ``binary``, ``labelmap``, or ``fractional``, which holds probabilities.
        follow: a folder of an earlier run, or a SEG, whose lesions keep their identifiers in this run's masks; the
            run's own folder where its scans hold earlier studies too. None: lesions have identifiers of their own.
    """

    contours: Contours = "exact"
    seg_type: SegType = "binary"
    follow: Path | None = None

    def check(self, formats: Sequence[str], labels: LabelScheme) -> None:
        """Refuse what cannot be written, before anything is computed.

        Args:
            formats: that are written.
            labels: the model's.
        Raises:
            DatasetError: an option without the format that it is about, or a label map of labels that overlap.
        """
        if self.contours != "exact" and "rtstruct" not in formats:
            raise _refuse("--contours is about RTSTRUCT, which is not written", "Add rtstruct to --format")
        about = ("dicom-seg", *(() if self.writes_mask_apart(formats) else _OF_MASKS))
        if self.seg_type != "binary" and not set(about) & set(formats):
            raise _refuse("--seg-type is about DICOM SEG, which is not written", "Add dicom-seg to --format")
        if self.follow is not None and not {"sr", "dicom-seg"} & set(formats):
            raise _refuse("--follow is about lesions of a DICOM SEG, which is not written", "Add sr to --format")
        if self.follow is not None and self.seg_type == "fractional" and "sr" not in formats:
            raise _refuse("--follow is about lesions, of which a fractional SEG has none", "Add sr to --format")
        values = [value for own in labels.labels.values() for value in own]
        if self.seg_type == "labelmap" and len(set(values)) < len(values):
            raise _refuse(
                f"the labels {', '.join(labels.names)} share voxels, which a label map cannot hold",
                "Use --seg-type binary",
            )

    def writes_mask_apart(self, formats: Sequence[str]) -> bool:
        """Whether reports and pictures are about a binary SEG beside the one that is asked for.

        Of probabilities there are no lesions; and that reports may refer to label maps, which are younger than they,
        is not known to all that check and show them.
        """
        return self.seg_type == "fractional" or (self.seg_type == "labelmap" and "sr" in formats)

    def describe(self) -> dict[str, str]:
        """What a run's record says of them; nothing of what is as usual."""
        options = {
            "contours": self.contours,
            "seg_type": self.seg_type,
            "follow": "no" if self.follow is None else "lesions of earlier studies",
        }
        return {name: value for name, value in options.items() if value not in ("exact", "binary", "no")}


@dataclass
class WrittenObjects:
    """The objects of one case.

    Args:
        files: the files' names within the folder, each with what it holds, in words.
        notes: what the user must know, a sentence each.
    """

    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ObjectWriter:
    """Writes the objects of one case after another.

    Args:
        predictor: what makes the predictions, for labels and error bars.
        output: the folder.
        formats: those of ``OBJECTS`` are written; ``sr`` and ``key-pictures`` write the SEG that they are about, too,
            for ``sr`` with a segment per lesion.
        options: how.
        following: the earlier masks whose lesions are followed; None where none are.
    """

    predictor: Predictor
    output: Path
    formats: Sequence[str]
    options: ObjectOptions
    following: Following | None = None

    @cached_property
    def meanings(self) -> dict[str, Meaning]:
        """What the model says of its labels in codes."""
        from medseg.io.dicom.codes import list_meanings

        return list_meanings(self.predictor.model.record.codes)

    def write(self, prediction: Prediction, case: str, source: DicomSource, shown: Volume | None) -> WrittenObjects:
        """Write a case's objects, each read back and compared before it stands there.

        Args:
            prediction: of the case, with probabilities where those are written.
            case: its name, which the files get.
            source: the series that the scan was read from.
            shown: the scan, for key pictures and to find lesions again; None where neither is asked for.
        Returns:
            what was written; nothing where no such format is asked for.
        Raises:
            MedsegError: an object cannot be made of this mask and series, or is not what was meant once it is written;
                then none of the case's objects is left.
            ResourceError: the disk is full or the folder cannot be written; likewise.
        """
        from medseg.io.dicom.maker import Maker

        model = self.predictor.model.plan.dataset
        maker = Maker(model=model, model_version=self.predictor.digest[:_DIGEST_DIGITS])
        written = WrittenObjects()
        try:
            self._write_fractional(prediction, case, source, maker, written)
            seg = self._write_mask(prediction, case, source, maker, shown, written)
            self._write_contours(prediction, case, source, maker, written)
            if seg is not None:
                self._write_report(prediction, case, source, maker, seg, written)
                self._draw_pictures(case, source, maker, seg, shown, written)
        except Exception as error:  # a case has all that was asked for, or nothing
            for path in self.list_files(case):
                path.unlink(missing_ok=True)
            raise (explain_write(error, self.output, case) if isinstance(error, OSError) else error) from None
        written.notes = list(dict.fromkeys(written.notes))
        return written

    def list_files(self, case: str) -> list[Path]:
        """Every object of a case that stands in the folder, whichever run wrote it."""
        named = [self.output / f"{case}{ending}" for ending in (*OBJECTS.values(), MASK_APART)]
        return [path for path in named if path.is_file()] + sorted(
            (self.output / KEY_PICTURES / case).glob("key_*.dcm")
        )

    def _write_fractional(
        self, prediction: Prediction, case: str, source: DicomSource, maker: Maker, written: WrittenObjects
    ) -> None:
        if self.options.seg_type != "fractional" or "dicom-seg" not in self.formats:
            return
        from medseg.io.dicom.seg_write import write_seg_probabilities

        assert prediction.probabilities is not None  # asked for
        labels, name = self.predictor.model.plan.labels, f"{case}{OBJECTS['dicom-seg']}"
        channels = dict(zip(name_channels(labels), prediction.probabilities, strict=True))
        seg = write_seg_probabilities(
            self.output / name, {label: channels[label] for label in labels.names}, prediction.segmentation.geometry,
            labels, source, meanings=self.meanings, maker=maker,
        )  # fmt: skip
        written.files[name] = f"DICOM SEG, probabilities, of {', '.join(labels.names)}"
        written.notes += seg.notes

    def _write_mask(
        self, prediction: Prediction, case: str, source: DicomSource, maker: Maker, shown: Volume | None,
        written: WrittenObjects,
    ) -> WrittenSeg | None:  # fmt: skip
        kind, wanted = self.options.seg_type, {"dicom-seg", *_OF_MASKS} & set(self.formats)
        if not wanted or (kind == "fractional" and wanted == {"dicom-seg"}):
            return None
        mask, lesions = prediction.segmentation, self._follow(prediction, case, source, shown, written)
        write = partial(self._write_seg, mask, source, maker, lesions, written)
        apart = self.options.writes_mask_apart(self.formats)
        if kind == "labelmap":
            seg = write(f"{case}{OBJECTS['dicom-seg']}", kind)
            if not apart:
                return seg
        return write(f"{case}{MASK_APART if apart else OBJECTS['dicom-seg']}", "binary")

    def _follow(
        self, prediction: Prediction, case: str, source: DicomSource, shown: Volume | None, written: WrittenObjects
    ) -> Sequence[TrackedLesion]:
        if self.following is None or shown is None:
            return ()
        named = self.following.name(case, prediction.segmentation, self.predictor.model.plan.labels, shown, source)
        written.notes += named.notes
        return named.lesions

    def _write_seg(
        self, mask: Segmentation, source: DicomSource, maker: Maker, lesions: Sequence[TrackedLesion],
        written: WrittenObjects, name: str, kind: Literal["binary", "labelmap"],
    ) -> WrittenSeg:  # fmt: skip
        from medseg.io.dicom.seg_write import write_seg

        labels = self.predictor.model.plan.labels
        apart = "sr" in self.formats or self.following is not None
        seg = write_seg(
            self.output / name, mask, labels, source, kind=kind, lesions=lesions,
            lesion_labels=labels.names if apart else (), meanings=self.meanings, maker=maker,
        )  # fmt: skip
        counts = {label: sum(segment.label == label for segment in seg.segments) for label in labels.names}
        parts = (f"{label} ({count})" if count > 1 else label for label, count in counts.items() if count)
        empty = "" if any(segment.voxels for segment in seg.segments) else ", empty"
        written.files[name] = f"DICOM SEG, {kind}{empty}, of {', '.join(parts)}"
        written.notes += seg.notes
        return seg

    def _write_contours(
        self, prediction: Prediction, case: str, source: DicomSource, maker: Maker, written: WrittenObjects
    ) -> None:
        if "rtstruct" not in self.formats:
            return
        from medseg.io.dicom.rtstruct_write import write_rtstruct

        name, labels = f"{case}{OBJECTS['rtstruct']}", self.predictor.model.plan.labels
        contours = self.options.contours
        found = write_rtstruct(
            self.output / name,
            prediction.segmentation,
            labels,
            source,
            contours=contours,
            meanings=self.meanings,
            maker=maker,
        )
        written.files[name] = f"RTSTRUCT, {contours} contours, of {', '.join(roi.name for roi in found.rois)}"
        written.notes += found.notes

    def _write_report(
        self, prediction: Prediction, case: str, source: DicomSource, maker: Maker, seg: WrittenSeg,
        written: WrittenObjects,
    ) -> None:  # fmt: skip
        if "sr" not in self.formats:
            return
        from medseg.io.dicom.report_sr import write_report
        from medseg.measurement import measure_case

        rows = measure_case(
            prediction.segmentation, self.predictor.model.plan.labels, volume_errors=self.predictor.volume_errors,
            member_volumes_ml=prediction.member_volumes_ml or None, case=case,
        )  # fmt: skip
        name = f"{case}{OBJECTS['sr']}"
        report = write_report(self.output / name, rows, seg, source, maker=maker)
        left_out = (f"; {len(names)} left out: {reason}" for reason, names in report.left_out.items())
        groups = f"{len(report.groups)} groups of measurements of {seg.path.name}"
        written.files[name] = f"DICOM SR (TID 1500), {groups}{''.join(left_out)}"

    def _draw_pictures(
        self, case: str, source: DicomSource, maker: Maker, seg: WrittenSeg, shown: Volume | None,
        written: WrittenObjects,
    ) -> None:  # fmt: skip
        if "key-pictures" not in self.formats or shown is None:
            return
        from medseg.io.dicom.key_pictures import write_key_pictures

        folder = self.output / KEY_PICTURES / case
        pictures = write_key_pictures(folder, shown, seg, source, maker=maker)
        for path in {*folder.glob("key_*.dcm")} - {picture.path for picture in pictures}:
            path.unlink()  # an earlier run's
        names = {segment.number: segment.name for segment in seg.segments}
        for picture in pictures:
            drawn = ", ".join(names[number] for number in picture.segments)
            written.files[picture.path.relative_to(self.output).as_posix()] = f"DICOM picture, key slice of {drawn}"


def _refuse(reason: str, remedy: str) -> DatasetError:
    return DatasetError(reason, code="bad_option", remedy=remedy)
