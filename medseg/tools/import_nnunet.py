"""``medseg import-nnunet``: nnU-Net's models as models of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.core.errors import ModelError, PlanError
from medseg.core.manifest import CaseOutcome, StepResult, hash_file, outcome_of_error

if TYPE_CHECKING:
    from medseg.inference.nnunet import ModelFolder, Verdict


def import_nnunet(source: str | Path, output: str | Path | None = None, *, list_only: bool = False) -> StepResult:
    """Every model found in a folder or zip, imported or judged.

    Args:
        source: the folder of a trainer, of a data set or of results, or a zip with any of them.
        output: the model's folder; where several models are found, each gets one in it under its own name.
        list_only: judge the models as an import would, and write nothing.
    Returns:
        an outcome per model; the text has a line for each: folder, configuration, trainer, folds, verdict.
    Raises:
        ModelError: there is no model.
        PlanError: no ``output`` is given to import to.
        FormatError, ResourceError: the source is missing, or a damaged or too large zip.
    """
    from medseg.inference.nnunet import find_models, open_source

    if output is None and not list_only:
        raise PlanError("there is no folder to import to", code="no_output", remedy="Give OUTPUT, or --list")
    source = Path(source)
    with open_source(source) as root:
        models = find_models(root, source.resolve().stem if source.is_file() else "")
        if not models:
            raise ModelError(
                "there is no nnU-Net model in it",
                code="no_model",
                file=source,
                remedy="Give a folder or zip with plans.json, dataset.json and fold_0/checkpoint_final.pth",
            )
        results = []
        for model in models:
            target = None
            if output is not None and not list_only:
                target = Path(output) if len(models) == 1 else Path(output) / model.name
            results.append(_handle(model, target, lambda file: file.replace(str(root), str(source))))
    rows = [row for _, row in results]
    return StepResult([outcome for outcome, _ in results], "\n".join(map(_format, rows)), {"models": rows})


def _handle(
    model: ModelFolder, target: Path | None, name_file: Callable[[str], str]
) -> tuple[CaseOutcome, dict[str, Any]]:
    """What became of one model, and its line; ``name_file`` turns files of an unpacked zip into the zip's."""
    from medseg.inference.nnunet import Verdict, examine_model, import_model

    try:
        verdict = examine_model(model) if target is None else import_model(model, target)
    except (ModelError, OSError) as error:  # the output's fault, not the model's
        outcome = outcome_of_error(error, model.name)
        verdict = Verdict(model.name, folds=tuple(fold for fold, _ in model.checkpoints))
        said = ": ".join((*outcome.inputs[:1], outcome.reason))
        return outcome, _describe(
            verdict, ". ".join(part for part in (f"{outcome.status}: {said}", outcome.remedy) if part)
        )
    if verdict.error is not None:
        verdict.error.file = name_file(verdict.error.file or str(model.path))
        outcome = outcome_of_error(verdict.error, model.name)
        return outcome, _describe(verdict, f"refused: {verdict.error}")
    outputs = {} if target is None else {"model.json": hash_file(target / "model.json")}
    outcome = CaseOutcome(model.name, "done", inputs=(name_file(str(model.path)),), outputs=outputs)
    if target is not None:  # what is to be noted was told as a warning
        return outcome, _describe(verdict, f"imported to {target}")
    return outcome, _describe(verdict, "; ".join(("can be imported", *verdict.notes)))


def _describe(verdict: Verdict, text: str) -> dict[str, Any]:
    return {
        "folder": verdict.name,
        "configuration": verdict.configuration or None,
        "trainer": verdict.trainer or None,
        "folds": list(verdict.folds),
        "verdict": text,
    }


def _format(row: dict[str, Any]) -> str:
    folds = f"folds {', '.join(map(str, row['folds']))}" if row["folds"] else "no folds"
    known = [row[name] or "?" for name in ("configuration", "trainer")]
    return "  ".join((row["folder"], *known, folds, row["verdict"]))
