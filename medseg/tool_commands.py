"""The commands beside the pipeline's, as in ``cli.py``; each tool is a module of ``medseg.tools``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.options.process import catch_errors, finish
from medseg.options.values import parse_seconds
from medseg.options.words import (
    Device,
    Gaps,
    GapsBy,
    Json,
    Plugins,
    Register,
    RegisterBy,
    SeriesRules,
    Target,
    Tilt,
    TiltedBy,
)


def demo(
    workspace: Annotated[Path, typer.Option("--workspace", help="Folder to work in.")] = Path("workspace_demo"),
    budget: Annotated[str, typer.Option(help="Wall-clock time: 90s, 15m, 2h.")] = "10m",
    json: Json = False,
) -> None:
    """Run everything on the example scans, on the CPU, in minutes."""
    with catch_errors():
        from medseg import pipeline
        from medseg.tools.demo import find_examples

        result = pipeline.run(find_examples(), workspace, budget_s=parse_seconds(budget), device="cpu")
    finish(result, json)


def import_nnunet(
    source: Annotated[Path, typer.Argument(metavar="FOLDER_OR_ZIP", help="A trainer's or data set's folder, a zip.")],
    output: Annotated[Path | None, typer.Argument(metavar="OUTPUT", help="Folder for the model.")] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Say of each model whether it can be imported.")] = False,
    json: Json = False,
) -> None:
    """Turn an nnU-Net model into a medseg model."""
    if output is None and not list_only:
        raise typer.BadParameter("give an OUTPUT folder, or --list")
    with catch_errors():
        from medseg.tools.import_nnunet import import_nnunet as convert

        result = convert(source, output, list_only=list_only)
    finish(result, json)


def import_dicom(
    tree: Annotated[Path, typer.Argument(metavar="TREE", help="A folder with DICOM scans and RTSTRUCT or SEG.")],
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder for the data set.")],
    labels: Annotated[
        Path | None, typer.Option(metavar="ROIS_JSON", help="Which structures are which label; a draft is written.")
    ] = None,
    modality: Annotated[str, typer.Option(help="Of the scans to take, such as CT; or --channels.")] = "",
    channels: SeriesRules = None,
    tilt: TiltedBy = Tilt.refuse,
    gaps: GapsBy = Gaps.refuse,
    register: RegisterBy = Register.refuse,
    json: Json = False,
) -> None:
    """Turn DICOM scans with RTSTRUCT or SEG into a data set."""
    with catch_errors():
        from medseg.tools.import_dicom import import_dicom as convert

        result = convert(
            tree, dataset, labels=labels, modality=modality, channels=channels, tilt=tilt.value, gaps=gaps.value,
            register=register.value,
        )  # fmt: skip
    finish(result, json)


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model's folder.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for what is exported.")],
    to: Annotated[Target, typer.Option(help="For which program.", show_default=False)],
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Turn a model into one of nnU-Net, ONNX or OpenVINO, with a report on parity."""
    with catch_errors(plugin):
        from medseg.tools.export import export as convert

        result = convert(model, output, to=to.value)
    finish(result, json)


def listen(
    ae_title: Annotated[str, typer.Option(help="This program's own name on the network.", show_default=False)],
    port: Annotated[int, typer.Option(help="Where to listen, such as 11112.", min=0, max=65535, show_default=False)],
    rules: Annotated[
        Path, typer.Option(help="rules.json: who may send what, and what becomes of it.", show_default=False)
    ],
    queue: Annotated[Path, typer.Option(help="Folder for what is received and made.", show_default=False)],
    host: Annotated[str, typer.Option(help="This machine's address to listen on.")] = "127.0.0.1",
    complete_after: Annotated[str, typer.Option(help="A series is complete when nothing came for so long.")] = "30s",
    device: Device = "auto",
) -> None:
    """Segment DICOM series that are sent here, and send the results on."""
    with catch_errors():
        from medseg.tools.listen import listen as serve

        seconds = parse_seconds(complete_after) or 0.0
        serve(rules, queue, ae_title=ae_title, port=port, host=host, complete_after_s=seconds, device=device)


def info(json: Json = False) -> None:
    """Tell versions, devices and memory of this machine."""
    from medseg.tools.info import info as describe

    finish(describe(), json)


def doctor(
    model: Annotated[Path | None, typer.Option(help="A model's folder, to check too.")] = None,
    device: Device = "auto",
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Try whether medseg works on this machine, and a model with it."""
    with catch_errors(plugin):
        from medseg.tools.doctor import doctor as examine

        result = examine(model, device=device)
    finish(result, json)


def add_tools(app: typer.Typer) -> None:
    """Put the tools' commands behind those that the command line has already."""
    app.command()(demo)
    app.command(name="import-nnunet")(import_nnunet)
    app.command(name="import-dicom")(import_dicom)
    app.command()(export)
    app.command()(listen)
    app.command()(info)
    app.command()(doctor)
