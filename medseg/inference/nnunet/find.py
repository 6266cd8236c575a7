"""Finding nnU-Net's trained models: in a folder, in a tree of results, in a zip."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import FormatError
from medseg.inference.nnunet.archive import extract_models
from medseg.inference.nnunet.plans import PLANS

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")  # the first that is there
FOLD = "fold_"
ALL = "all"
FIRST_VERSION = "plans.pkl"  # of nnU-Net's first version, a pickle
DEEPEST = 4  # nnUNet_results/Dataset/Trainer, and what a zip puts around them
MOST_FOLDS = 100


@dataclass(frozen=True)
class ModelFolder:
    """A folder that nnU-Net trained a configuration in.

    Args:
        path: with ``plans.json`` and the folds' folders.
        name: its path from where the search began, for messages.
        checkpoints: (fold, file): numbered folds by number, then ``all``; those without a checkpoint are left out.
        is_first_version: whether it is of nnU-Net's first version.
    """

    path: Path
    name: str
    checkpoints: tuple[tuple[int | str, Path], ...]
    is_first_version: bool = False


@contextlib.contextmanager
def open_source(source: str | Path) -> Iterator[Path]:
    """The folder to search: ``source`` itself, or what a zip's models were extracted to as long as it is open.

    Args:
        source: a folder or a zip.
    Returns:
        a context manager giving the folder.
    Raises:
        FormatError: it is neither, or a zip that is damaged.
        ModelError: a zip with entries that lead out of it or are too large.
        ResourceError: there is no room for a zip's content.
    """
    source = Path(source)
    if source.is_dir():
        yield source
    elif source.is_file():
        with tempfile.TemporaryDirectory(prefix="medseg-import-") as folder:
            inner = Path(folder) / "content"  # alone in its folder: a model at the zip's root has no neighbours
            inner.mkdir()
            extract_models(source, inner)
            yield inner
    else:
        raise FormatError("there is no such folder or zip", code="missing_file", file=source)


def find_models(root: str | Path, title: str = "") -> tuple[ModelFolder, ...]:
    """Every model at or below a folder.

    Args:
        root: a trainer's folder, a data set's, a folder of results.
        title: what a model that ``root`` itself is shall be called; the folder's own name where it is empty.
    Returns:
        the models by path; empty where there is none.
    """
    root = Path(root)
    return tuple(_search(root, root, title or root.resolve().name, DEEPEST))


def find_neighbours(model: ModelFolder) -> tuple[ModelFolder, ...]:
    """The other models in the folder that a model's folder stands in, by name."""
    found = (_look_at(folder, folder.name) for folder in _list_folders(model.path.resolve().parent))
    return tuple(other for other in found if other is not None and other.path != model.path.resolve())


def _search(folder: Path, root: Path, title: str, depth: int) -> Iterator[ModelFolder]:
    model = _look_at(folder, title if folder == root else folder.relative_to(root).as_posix())
    if model is not None:
        yield model
    elif depth:
        for inner in _list_folders(folder):
            yield from _search(inner, root, title, depth - 1)


def _list_folders(folder: Path) -> list[Path]:
    """The folders in one, without hidden ones and those that a Mac's zip adds."""
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except PermissionError:
        return []
    return [path for path in found if not path.name.startswith((".", "__MACOSX"))]


def _look_at(folder: Path, name: str) -> ModelFolder | None:
    if (folder / FIRST_VERSION).is_file():
        return ModelFolder(folder, name, (), is_first_version=True)
    folds = [path for path in _list_folders(folder) if path.name.startswith(FOLD)]
    if not folds or not (folder / PLANS).is_file():
        return None
    found = []
    for path in folds[:MOST_FOLDS]:
        number = path.name.removeprefix(FOLD)
        file = next((path / checkpoint for checkpoint in CHECKPOINTS if (path / checkpoint).is_file()), None)
        if file is not None and (number == ALL or re.fullmatch(r"0|[1-9][0-9]{0,2}", number)):
            found.append((ALL if number == ALL else int(number), file))
    found.sort(key=lambda item: (item[0] == ALL, item[0] if isinstance(item[0], int) else 0))
    return ModelFolder(folder, name, tuple(found))
