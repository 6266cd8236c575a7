"""Names for channels and labels where nothing else names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.fingerprint.modality import Modality
from medseg.fingerprint.summary import CaseSummary

# A label map with more values than this holds numbered instances or grey values, not classes.
MOST_LABELS = 200
# A label that one case of so many has may be a slip of somebody's hand.
FEW_CASES = 3
SHOWN_GAPS = 5


def name_channels(cases: Sequence[Sequence[Modality]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The channels' names from the modalities that the cases' intensities show.

    Args:
        cases: per case, a modality per channel.
    Returns:
        the names (``MR_1``, ``MR_2`` where several channels are alike) and a line of evidence per channel.
    Raises:
        DatasetError: no case, or cases with different numbers of channels; or it is unclear, or differs between
            cases, whether a channel is CT, which decides its normalisation.
    """
    counts = sorted({len(channels) for channels in cases})
    if len(counts) != 1 or counts[0] == 0:
        raise DatasetError(
            f"cases with {' or '.join(map(str, counts)) or 'no'} channels",
            code="channel_count",
            remedy="Give every case the same channels",
        )
    agreed = [_agree(index, [channels[index] for channels in cases]) for index in range(counts[0])]
    names = [name for name, _ in agreed]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    numbers: Counter[str] = Counter()
    unique = []
    for name in names:
        numbers[name] += 1
        unique.append(f"{name}_{numbers[name]}" if name in repeated else name)
    notes = tuple(f"Channel {index} is {name}: {agreed[index][1]}" for index, name in enumerate(unique))
    return tuple(unique), notes


def _agree(index: int, seen: Sequence[Modality]) -> tuple[str, str]:
    clear = [modality for modality in seen if modality.name is not None]
    counts = Counter(modality.name for modality in clear)
    if not clear:
        raise _unclear(f"channel {index}: {seen[0].evidence}")
    if "CT" in counts and len(counts) > 1:
        found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=str))
        raise _unclear(f"channel {index}: {found} by their intensities, so cases differ in modality")
    name = str(counts.most_common(1)[0][0])
    if "CT" not in counts and len(clear) < len(seen):
        odd = next(modality for modality in seen if modality.name is None)
        raise _unclear(
            f"channel {index}: {len(clear)} of {len(seen)} cases look like {name}, others do not: {odd.evidence}"
        )
    evidence = next(modality.evidence for modality in clear if modality.name == name)
    return name, f"{counts[name]} of {len(seen)} cases; the first: {evidence}"


def _unclear(reason: str) -> DatasetError:
    return DatasetError(
        reason, code="unclear_modality", remedy="Name the channels, for example --channels CT or --channels MR"
    )


def name_labels(values: Iterable[int]) -> tuple[LabelScheme, str]:
    """A label scheme for the values seen in all masks: ``label_1``, ``label_2``, ...

    Args:
        values: the values of all masks together, the background 0 among them.
    Returns:
        the scheme and a line that says how it came about.
    Raises:
        DatasetError: there is no value besides 0, or so many that they cannot be classes.
    """
    found = sorted({int(value) for value in values} - {0})
    if len(found) > MOST_LABELS:
        raise DatasetError(
            f"the masks hold {len(found)} values: numbered instances or grey values, not classes",
            code="bad_labels",
            remedy="Give masks with a value per class, or name the values with --labels name=value",
        )
    scheme = LabelScheme.make({f"label_{value}": value for value in found})
    return scheme, f"Labels from the values in the masks: {', '.join(scheme.names)}"


def note_labels(labels: LabelScheme, summaries: Sequence[CaseSummary]) -> tuple[str, ...]:
    """Lines about labels that are named but never or hardly ever drawn, and about gaps between their values.

    Args:
        labels: the scheme.
        summaries: of the usable cases.
    Returns:
        the lines; empty where every label is drawn and the values are 1, 2, ...
    """
    lines = []
    for name in labels.names:
        drawn = [found.fingerprint.case for found in summaries if found.fingerprint.label_ml.get(name, 0) > 0]
        if not drawn and summaries:
            lines.append(f"No mask holds the label {name}: it cannot be learnt")
        elif len(drawn) == 1 and len(summaries) >= FEW_CASES:
            lines.append(f"Only the mask of {drawn[0]} holds the label {name}: is it meant?")
    whole = labels.foreground
    missing = sorted(set(range(max(whole, default=0))) - set(labels.values))
    if missing and len(whole) > 1:  # 255 alone is how many tools write a single label
        shown = ", ".join(map(str, missing[:SHOWN_GAPS])) + (", ..." if len(missing) > SHOWN_GAPS else "")
        lines.append(f"The labels' values leave out {shown}; that is fine, masks keep the values as they are")
    return tuple(lines)
