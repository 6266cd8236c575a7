"""The series of a study that become the channels of one scan: one for each rule, or a list of those to choose among."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medseg.core.channel_rules import ChannelRule
from medseg.core.errors import DatasetError, GeometryError, MedsegError
from medseg.io.dicom.channel_rules import fits, is_familiar, tell_apart, tell_rule
from medseg.io.dicom.read import plan_stack
from medseg.io.dicom.series import DicomSeries
from medseg.io.dicom.stacking import make_geometry

REGISTER = ("refuse", "rigid")
# Of many series that fit, so many are listed.
_LISTED = 8


def choose_channels(
    study: Sequence[DicomSeries], rules: Sequence[ChannelRule], *, first: DicomSeries | None = None
) -> tuple[DicomSeries, ...]:
    """One series of a study for each channel.

    Args:
        study: the scans of one study.
        rules: of the channels.
        first: the series of the first channel where it is known, as that on which a reference was drawn; else None.
    Returns:
        the series, in the order of the rules.
    Raises:
        DatasetError: no series fits a rule, several do (the message lists them), or one fits several rules.
    """
    fitting = [list_fitting(study, rule) for rule in rules]
    if first is not None:
        fitting[0] = [first]
        fitting[1:] = [[one for one in group if one is not first] or group for group in fitting[1:]]
    for rule, group in zip(rules, fitting, strict=True):
        if len(group) != 1:
            raise _refuse_choice(rule, group, study)
    chosen = tuple(group[0] for group in fitting)
    if len(set(chosen)) < len(chosen):
        twice = next(series for series in chosen if chosen.count(series) > 1)
        names = " and ".join(rule.channel for rule, series in zip(rules, chosen, strict=True) if series is twice)
        example = "; ".join(f"{rule.channel}: SeriesNumber=..." for rule in rules)
        raise DatasetError(
            f"the series {twice.name} fits several channels ({names}), expected one series for each",
            code="ambiguous_series", file=twice.files[0],
            remedy=f"Say which is which: --channels '{example}'",
        )  # fmt: skip
    return chosen


def list_fitting(study: Sequence[DicomSeries], rule: ChannelRule) -> list[DicomSeries]:
    """The series that fit a rule; of several those whose description the data set knows, where there are such."""
    found = [series for series in study if fits(rule, series)]
    known = [series for series in found if is_familiar(rule, series)]
    return known if len(found) > 1 and known else found


def check_register(register: str) -> None:
    """Raises DatasetError where it is neither ``refuse`` nor ``rigid``."""
    if register not in REGISTER:
        raise DatasetError(
            f"--register {register!r}, expected {' or '.join(REGISTER)}", code="bad_option",
            remedy="Write --register rigid",
        )  # fmt: skip


def require_frame(chosen: Sequence[DicomSeries], register: str) -> None:
    """Raises GeometryError where series lie in different frames of reference and are not to be registered.

    Args:
        chosen: a series for each channel.
        register: ``refuse``, or ``rigid``.
    """
    if register == "refuse" and not all(share_frame(chosen[0], series) for series in chosen[1:]):
        named = ", ".join(series.name for series in chosen)
        raise GeometryError(
            f"the series of its channels ({named}) lie in different frames of reference, or state none: nothing says"
            " where one is in the other", code="other_frame", file=chosen[0].files[0],
            remedy="Register them with --register rigid, or give them as NIfTI on one grid, CASE_0000 and so on",
        )  # fmt: skip


def share_frame(one: DicomSeries, other: DicomSeries) -> bool:
    """Whether two series state one frame of reference; of those that state none it is not known."""
    frame = one.planes[0].frame_of_reference_uid
    return bool(frame) and frame == other.planes[0].frame_of_reference_uid


def _refuse_choice(rule: ChannelRule, group: Sequence[DicomSeries], study: Sequence[DicomSeries]) -> DatasetError:
    shown = [_describe(rule, series, group) for series in (group or study)[:_LISTED]]
    more = len(group or study) - len(shown)
    listed = "; ".join([*shown, *([f"and {more} more"] if more else [])])
    file: Path = (group or study)[0].files[0]
    if not group:
        return DatasetError(
            f"0 series of its study fit the channel {rule.channel} ({tell_rule(rule)}), expected one; there are:"
            f" {listed}", code="missing_channel", file=file,
            remedy=f"Add that series to the tree, or say which it is: --channels '{rule.channel}: SeriesNumber=...'",
        )  # fmt: skip
    told = next((text for series in group if (text := tell_apart(rule, series, group))), "")
    return DatasetError(
        f"{len(group)} series of its study fit the channel {rule.channel} ({tell_rule(rule)}), expected one: {listed}",
        code="ambiguous_series", file=file,
        remedy=f"Say which, such as --channels '{told}'" if told else "Leave the right one alone in the tree",
    )  # fmt: skip


def _describe(rule: ChannelRule, series: DicomSeries, group: Sequence[DicomSeries]) -> str:
    """A series with its planes and spacing, and the rule that takes it alone."""
    try:
        place = make_geometry(plan_stack(series, tilt="resample", gaps="interpolate")).describe()
    except MedsegError as error:
        place = f"{len(series.planes)} planes, unusable: {error.reason}"
    told = tell_apart(rule, series, group) if series in group else ""
    return f"{series.name} ({place}){f' is {told!r}' if told else ''}"
