"""The notebooks run from top to bottom as a reader would run them, and are committed without results."""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
# Words that a notebook prints where it has worked.
SAYS = {
    "01_first_model": ["24 cases to train on, 6 to test with", "24 of 24 cases can be used", "tumour", "report.html"],
    "05_my_own_loss_and_network": [
        "24 prepared",
        "tumour",
        "a network that no table holds: object __main__.build_dilated",
    ],
}
# Those that end with a report.
REPORTING = {"01_first_model"}
OWN_LINES = 40  # what a new loss, network and augmentation may take at most


def read_notebook(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def texts_of(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.text for output in outputs if output.output_type == "stream")


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(SAYS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_results(path: Path) -> None:
    notebook = read_notebook(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_a_new_loss_network_and_augmentation_take_few_lines() -> None:
    (path,) = (path for path in NOTEBOOKS if path.stem == "05_my_own_loss_and_network")
    cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"]
    own = [cell for cell in cells if cell.startswith(("class ", "def ", "own = "))]
    assert len(own) == 4
    assert sum(bool(line.strip()) for cell in own for line in cell.splitlines()) < OWN_LINES


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of the notebook's own machinery; the kernel is another process
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the networks are small
    notebook = read_notebook(path)
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    said = texts_of(notebook)
    assert all(words in said for words in SAYS[path.stem])
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if any(kind.startswith("image/") for kind in output.get("data", {}))]
    assert pictures
    pages = list(tmp_path.rglob("report.html"))
    assert len(pages) == (path.stem in REPORTING)
    assert all(page.stat().st_size > 10_000 for page in pages)
