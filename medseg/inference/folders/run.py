"""What is done with each case of a folder: read it, segment it, write its mask."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medseg.core.dataset import Case
from medseg.core.disk import is_disk_fault
from medseg.core.errors import MedsegError, ResourceError
from medseg.core.manifest import CaseOutcome, hash_file, outcome_of_error
from medseg.core.volume import Volume
from medseg.inference.folders.finished import Entry, RunRecord, hash_inputs, list_inputs
from medseg.inference.folders.following import Following
from medseg.inference.folders.limits import (
    Limits,
    RunSettings,
    choose_settings,
    first_settings,
    is_out_of_memory,
    list_settings,
    step_down,
    with_settings,
)
from medseg.inference.folders.memory import (
    MemoryEstimate,
    ScanSize,
    count_reading_bytes,
    estimate_memory,
    expect_size,
    format_gb,
    measure_size,
    read_used_bytes,
)
from medseg.inference.folders.objects import ObjectOptions, ObjectWriter, WrittenObjects
from medseg.inference.folders.together import agree_together, count_together, fits_one_window, predict_together
from medseg.inference.folders.writing import write_prediction
from medseg.inference.predictor import Prediction, Predictor
from medseg.inference.segment import PreparedScan
from medseg.io import read_volume
from medseg.io.dicom.source import DicomSource
from medseg.io.files import NIFTI_ENDINGS, split_ending

if TYPE_CHECKING:
    from medseg.io.dicom.channel_transforms import ChannelTransform
    from medseg.io.dicom.scans import DicomScans  # which loads pydicom

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reading:
    """A case that was read.

    Args:
        case: the case.
        inputs: its files' hashes.
        scan: prepared; None where there is nothing to compute.
        size: of the scan.
        entry: what became of the case already: nothing has changed since an earlier run, or it cannot be read.
        source: the DICOM series that it was read from; None of other files.
        notes: what is doubtful about that series, a line each.
        shown: its first channel, where pictures of it are drawn.
        transforms: how series of other frames of reference were registered to its first channel.
    """

    case: Case
    inputs: dict[str, str] = field(default_factory=dict)
    scan: PreparedScan | None = None
    size: ScanSize | None = None
    entry: Entry | None = None
    source: DicomSource | None = None
    notes: tuple[str, ...] = ()
    shown: Volume | None = None
    transforms: tuple[ChannelTransform, ...] = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """A case whose mask is to be written, or an entry that is to be noted."""

    reading: Reading
    prediction: Prediction | None = None
    entry: Entry | None = None


@dataclass(eq=False)
class FolderRun:
    """One model and the cases of a folder; ``read`` and ``write`` run in threads, ``compute`` where Ctrl-C is heard.

    Args:
        predictor: the model.
        cases: to segment.
        record: what is done.
        limits: of memory.
        output: the folder.
        formats: of the masks.
        save_probabilities: whether they are written too.
        spacing_mm: of pictures.
        conclude: told of each outcome.
        stopped: set where the run ends early.
        dicom: the series of cases that are read from DICOM.
        options: how their objects are written.
        following: the earlier masks whose lesions are followed; None where none are.
    """

    predictor: Predictor
    cases: Sequence[Case]
    record: RunRecord
    limits: Limits
    output: Path
    formats: Sequence[str]
    save_probabilities: bool
    spacing_mm: Sequence[float] | None
    conclude: Callable[[CaseOutcome], None]
    stopped: threading.Event
    dicom: DicomScans | None = None
    options: ObjectOptions = field(default_factory=ObjectOptions)
    following: Following | None = None

    def __post_init__(self) -> None:
        self.objects = ObjectWriter(self.predictor, self.output, self.formats, self.options, self.following)
        self.keeps_scan = "key-pictures" in self.formats or self.following is not None
        self.with_probabilities = self.save_probabilities or self.options.seg_type == "fractional"
        self.exact = self.predictor.precision == "exact"
        self.program_bytes = read_used_bytes()
        self.first = first_settings(self.predictor)
        self.threads = torch.get_num_threads()
        self.group_size = count_together(self.predictor)
        self._agreed: dict[int, bool] = {}
        self._on_device = {self.predictor.device: self.predictor}

    def read(self, position: int) -> tuple[list[Reading], int]:
        """The group that begins with a case, and the number of the case after it: one case, or many small ones."""
        if self.predictor.device.type == "cpu":
            # The network has every core; a second team of threads would make the first one's wait for each other.
            torch.set_num_threads(1)
        group: list[Reading] = []
        while position < len(self.cases) and not self.stopped.is_set():
            group.append(self._read_case(self.cases[position]))
            position += 1
            if len(group) == self.group_size or not self._is_small(group[-1]):
                break
        return group, position

    def _is_small(self, reading: Reading) -> bool:
        return reading.scan is not None and fits_one_window(reading.scan, self.predictor.members)

    def _read_case(self, case: Case) -> Reading:
        inputs: dict[str, str] = {}
        try:
            inputs = hash_inputs(case, self._list_files(case))
            entry = self.record.find_finished(case, inputs)
            holds = self.following is None or self.following.note_reading(case, entry is not None)
            if entry is not None and holds:
                return Reading(case, inputs, entry=entry)
            self._check_room(self.look_ahead(case))
            volume, source, notes, transforms = self._read_volume(case)
            channels, value_bytes = len(volume.array), volume.array.itemsize
            self._check_room(expect_size(volume.geometry, channels, value_bytes, self.predictor.members))
            scan = self.predictor.prepare(volume)
            size = measure_size(scan, channels, value_bytes)
            shown = Volume(volume.array[:1], volume.geometry, volume.channels[:1]) if self.keeps_scan else None
            return Reading(case, inputs, scan, size, source=source, notes=notes, shown=shown, transforms=transforms)
        except BaseException as error:  # in a thread; one case's fault, whatever it is, never stops the others
            return Reading(case, inputs, entry=Entry(_name_fault(error, case), inputs))

    def _list_files(self, case: Case) -> tuple[Path, ...]:
        """What a case is read from besides the files that it names."""
        files = () if self.dicom is None else self.dicom.list_files(case.name)
        return files if self.following is None else (*files, *self.following.list_inputs(case))

    def _read_volume(
        self, case: Case
    ) -> tuple[Volume, DicomSource | None, tuple[str, ...], tuple[ChannelTransform, ...]]:
        if self.dicom is not None:
            scan = self.dicom.read(case.name)
            return scan.volume, scan.source, scan.notes, scan.transforms
        return read_volume(case, self.predictor.model.plan.channels, spacing_mm=self.spacing_mm), None, (), ()

    def look_ahead(self, case: Case) -> ScanSize | None:
        """How large a scan is by its header; None where only reading it tells."""
        path = case.images[0].path
        if self.limits.ram_gb is None or split_ending(path)[1] not in NIFTI_ENDINGS:
            return None
        from medseg.io.nifti import read_nifti_header

        header = read_nifti_header(path)
        value_bytes = 4 if header.scale is not None or header.dtype.kind == "f" else header.dtype.itemsize
        channels = len(self.predictor.model.plan.channels)
        return expect_size(header.geometry, channels, value_bytes, self.predictor.members)

    def _check_room(self, size: ScanSize | None) -> None:
        """Refuse a scan that cannot be read within the limit, with what all of its way needs."""
        if size is None:
            return
        reading = count_reading_bytes(size, exact=self.exact)
        ram = MemoryEstimate({"program": self.program_bytes, "reading": reading})
        if self.limits.allow(ram):
            return
        *_, frugal = list_settings(self.first)
        segmenting = self._estimate(size, frugal)
        whole = max(ram, segmenting, key=lambda estimate: estimate.ram_bytes)
        raise ResourceError(
            f"{self.limits.name_excess(ram)} to read and prepare it ({ram.list_ram()}), and at most "
            f"{format_gb(segmenting.ram_bytes)} to segment it with {frugal.describe()} ({segmenting.list_ram()})",
            code="memory", remedy=self.limits.name_remedy(whole),
        )  # fmt: skip

    def may_read_ahead(self, group: list[Reading], position: int) -> bool:
        """Whether the memory suffices for the next case beside this group."""
        if self.limits.ram_gb is None:
            return True
        try:
            following = self.look_ahead(self.cases[position])
            if following is None:
                return False
            needed = max((self._choose(r)[1].ram_bytes for r in group if r.size is not None), default=0)
        except MedsegError:  # it will be said when that case's turn comes
            return False
        return self.limits.allow(MemoryEstimate({"both": needed + count_reading_bytes(following, exact=self.exact)}))

    def _choose(self, reading: Reading) -> tuple[RunSettings, MemoryEstimate]:
        size = reading.size
        assert size is not None  # a case that was prepared has one
        return choose_settings(lambda settings: self._estimate(size, settings), self.first, self.limits)

    def _estimate(self, size: ScanSize, settings: RunSettings) -> MemoryEstimate:
        on_gpu = settings.device.type != "cpu"
        shown = size.channels * size.voxels * size.value_bytes if self.keeps_scan else 0
        return estimate_memory(
            self.predictor.members, size, together=settings.together,
            at_once=settings.together if on_gpu else min(settings.together, self.threads),
            on_gpu=on_gpu, sums_on_gpu=settings.sum_device.type != "cpu",
            overlap=self.predictor.window.overlap, exact=self.exact, program_bytes=self.program_bytes + shown,
            with_probabilities=self.with_probabilities, with_rules=bool(self.predictor.rules),
        )  # fmt: skip

    def compute(self, group: list[Reading]) -> list[Answer]:
        """The masks of a group's cases."""
        small = [reading for reading in group if self._is_small(reading)]
        predictions = self._segment_together(small) if len(small) > 1 else {}
        answers = []
        for reading in group:
            if reading.scan is None:
                answers.append(Answer(reading, entry=reading.entry))
                continue
            try:
                prediction = predictions.get(reading.case.name) or self._segment(reading, reading.scan)
                answers.append(Answer(reading, prediction))
            except Exception as error:  # one case's fault, whatever it is, never stops the others
                logger.debug("details", exc_info=error)
                answers.append(Answer(reading, entry=Entry(_name_fault(error, reading.case), reading.inputs)))
        return answers

    def _segment(self, reading: Reading, scan: PreparedScan) -> Prediction:
        settings, estimate = self._choose(reading)
        if self.limits != Limits():
            logger.info("%s: %s; needs about %s", reading.case.name, settings.describe(), estimate.describe())

        def run(chosen: RunSettings) -> Prediction:
            if chosen.device not in self._on_device:
                self._on_device[chosen.device] = with_settings(self.predictor, chosen)
            predictor = with_settings(self._on_device[chosen.device], chosen)
            return predictor.segment(scan, with_probabilities=self.with_probabilities)

        prediction, used = step_down(run, settings, reading.case.name)
        if used.together < settings.together:  # the windows of the next case will be as large
            self.first = RunSettings(self.first.device, used.together, self.first.sum_device)
            self.group_size = 1
        return prediction

    def _segment_together(self, small: list[Reading]) -> dict[str, Prediction]:
        """Predictions by case; empty where the cases are better computed one by one."""
        scans = [reading.scan for reading in small if reading.scan is not None]
        try:
            if any(self._choose(reading)[0] != self.first for reading in small):
                return {}
            if self.exact and not self._agrees(scans):
                return {}
            found = predict_together(self.predictor, scans, with_probabilities=self.with_probabilities)
        except Exception as error:  # whose fault it is will show when each is computed by itself
            logger.debug("details", exc_info=error)
            return {}
        return {reading.case.name: prediction for reading, prediction in zip(small, found, strict=True)}

    def _agrees(self, scans: list[PreparedScan]) -> bool:
        """Whether batches of this size change nothing, looked at once for each size."""
        if len(scans) not in self._agreed:
            self._agreed[len(scans)] = agree_together(self.predictor, scans)
            if not self._agreed[len(scans)]:
                logger.debug("a batch of %d small scans would change last digits; they go one by one", len(scans))
                self.group_size = 1
        return self._agreed[len(scans)]

    def write(self, answers: list[Answer]) -> None:
        """Write the masks and note what became of each case."""
        for answer in answers:
            entry = answer.entry
            try:
                entry = entry or self._write_case(answer.reading, answer.prediction)
            except BaseException as error:  # in a thread; one case's fault never stops the others
                if is_disk_fault(error):  # which is no case's
                    raise
                entry = Entry(_name_fault(error, answer.reading.case), answer.reading.inputs)
            self.conclude(self.record.add(entry))

    def _write_case(self, reading: Reading, prediction: Prediction | None) -> Entry:
        assert prediction is not None  # what has no entry yet was computed
        labels = self.predictor.model.plan.labels
        names = write_prediction(
            prediction, reading.case, self.output, self.formats, labels, save_probabilities=self.save_probabilities
        )
        if reading.transforms:
            from medseg.io.dicom.channel_transforms import write_transforms

            names.append(f"{reading.case.name}.transforms.json")
            write_transforms(self.output / names[-1], reading.transforms)
        written = WrittenObjects()
        if reading.source is not None:
            try:
                written = self.objects.write(prediction, reading.case.name, reading.source, reading.shown)
            except Exception:  # a case has all that was asked for, or nothing
                for name in names:
                    (self.output / name).unlink(missing_ok=True)
                raise
        names.extend(written.files)
        warnings = (*reading.notes, *prediction.warnings, *written.notes)
        outputs = {name: hash_file(self.output / name) for name in names}
        for sentence in warnings:
            logger.warning("%s: %s", reading.case.name, sentence)
        outcome = CaseOutcome(reading.case.name, "done", inputs=list_inputs(reading.case), outputs=outputs)
        return Entry(outcome, reading.inputs, warnings, prediction.member_volumes_ml, written.files)


def _name_fault(error: BaseException, case: Case) -> CaseOutcome:
    if isinstance(error, MedsegError):
        return outcome_of_error(error.for_case(case.name))
    if is_out_of_memory(error):
        reason = f"the memory is full: {error or type(error).__name__}"
        return outcome_of_error(ResourceError(reason, code="memory", case=case.name, remedy="Use a larger machine"))
    known = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__} {error}")
    return outcome_of_error(known, case.name)
