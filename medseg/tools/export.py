"""A model for other programs: ``medseg export MODEL OUTPUT --to nnunet|onnx|openvino``."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medseg.core.errors import ModelError
from medseg.core.manifest import CaseOutcome, StepResult, hash_file
from medseg.core.records import write_json

if TYPE_CHECKING:
    from medseg.inference import Model
    from medseg.inference.exports import Comparison

Target = Literal["nnunet", "onnx", "openvino"]

REPORT = "export.json"
FORMAT = "medseg-export-1"
READERS = {"nnunet": "nnU-Net 2.8.1", "onnx": "ONNX", "openvino": "OpenVINO"}
# What had a hand in the files, besides medseg.
PACKAGES = {
    "nnunet": ("torch",),
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "onnx", "onnxscript", "openvino"),
}


def export(model: str | Path, output: str | Path, *, to: Target) -> StepResult:
    """Write a model for another program, read it back, and report how far its answers lie from ours.

    Args:
        model: the model's folder.
        output: a folder that is not there yet or is empty; ``export.json`` in it is the report.
        to: ``nnunet`` (a folder that nnU-Net 2.8.1 predicts with), ``onnx``, ``openvino``.
    Returns:
        an outcome per network, failed where its answers are another network's; for a person and for machines the files,
        their parity, and why masks may differ.
    Raises:
        ModelError: the model is damaged, or the other program cannot express it; the folder is not empty.
        MissingExtraError: the packages for that program are not installed.
        OSError: the disk is full or the folder cannot be written.
    """
    from medseg.inference import open_model

    opened, output = open_model(model), Path(output)
    _refuse_used(output)
    comparisons, differences, use = _write(opened, output, to)
    files = sorted(path for path in output.rglob("*") if path.is_file())
    hashes = {path.relative_to(output).as_posix(): hash_file(path) for path in files}
    content: dict[str, Any] = {
        "format": FORMAT,
        "to": to,
        "model": opened.digest,
        "versions": _list_versions(to),
        "labels": opened.plan.labels.model_dump(mode="json"),
        "channels": list(opened.plan.channels),
        "mirror_axes": list(opened.record.mirror_axes),
        "files": hashes,
        "parity": [asdict(comparison) for comparison in comparisons],
        "differences": differences,
        "use": use,
    }
    write_json(output / REPORT, content)
    outcomes = _judge(comparisons, hashes, opened)
    return StepResult(outcomes, _describe(content, comparisons, output), content)


def _write(model: Model, output: Path, to: Target) -> tuple[list[Comparison], list[str], list[str]]:
    """Export and compare: the comparisons, why masks may differ, and how the files are used."""
    if to == "nnunet":
        from medseg.inference.nnunet import compare_checkpoints, explain_differences, explain_use, export_nnunet

        export_nnunet(model, output)
        return list(compare_checkpoints(model, output)), explain_differences(model), explain_use(model, output)
    from medseg.inference.exports import compare_networks, explain_networks, export_networks

    export_networks(model, output, to)
    return list(compare_networks(model, output, to)), explain_networks(model, to), []


def _refuse_used(output: Path) -> None:
    """Nothing is written over, least of all what nnU-Net trained."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ModelError("there is something in it already", code="not_empty", file=output, remedy="Give a new folder")


def _list_versions(to: Target) -> dict[str, str | None]:
    from medseg import __version__

    versions: dict[str, str | None] = {"medseg": __version__}
    for package in PACKAGES[to]:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def _judge(comparisons: list[Comparison], hashes: dict[str, str], model: Model) -> list[CaseOutcome]:
    by_network: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_network.setdefault(comparison.network, []).append(comparison)
    outcomes = []
    for network, found in by_network.items():
        bad = [comparison for comparison in found if not comparison.is_close]
        outcomes.append(
            CaseOutcome(
                case=network,
                status="failed" if bad else "done",
                code="parity" if bad else "",
                inputs=(str(model.folder),),
                reason=bad[0].line() if bad else "",
                remedy="Do not use the exported file" if bad else "",
                outputs={found[0].file: hashes[found[0].file]},
            )
        )
    return outcomes


def _describe(content: dict[str, Any], comparisons: list[Comparison], output: Path) -> str:
    lines = [f"Exported to {output} for {READERS[content['to']]}; {REPORT} says what was written and compared."]
    lines += [comparison.line() for comparison in comparisons]
    lines += [f"Not close enough, do not use: {entry.file}" for entry in comparisons if not entry.is_close]
    if content["differences"]:
        lines.append("Where masks may differ:")
        lines += [f"- {reason}" for reason in content["differences"]]
    elif content["to"] == "nnunet":
        lines.append("nnU-Net gives the masks of medseg predict --precision exact on a CPU.")
    if content["use"]:
        lines += ["To predict:", *content["use"]]
    return "\n".join(lines)
