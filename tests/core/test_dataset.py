"""Cases, data sets and the paths of a workspace."""

from pathlib import Path

from medseg.core.dataset import Case, Dataset, ImageSource
from medseg.core.labels import LabelScheme
from medseg.core.workspace import Workspace


def test_a_case_is_its_own_patient_unless_told() -> None:
    image = (ImageSource(Path("a.nii.gz")),)
    assert Case("a", image).patient == "a"
    assert Case("a", image, patient="p1").patient == "p1"


def test_naming_keeps_everything_else() -> None:
    dataset = Dataset(Path("d"), "d", "two folders", (Case("a", ()),), notes=("read as two folders",))
    labels = LabelScheme.make({"tumour": 1})
    named = dataset.with_names(("CT",), labels, ("CT: values down to -1024",))
    assert (named.channels, named.labels) == (("CT",), labels)
    assert named.notes == ("read as two folders", "CT: values down to -1024")
    assert named.cases == dataset.cases
    assert dataset.channels == ()


def test_the_workspace_of_the_design(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.fingerprint == tmp_path / "fingerprint.json"
    assert workspace.plan == tmp_path / "plan.json"
    assert workspace.folds == tmp_path / "folds.json"
    assert workspace.choice == tmp_path / "choice.json"
    assert workspace.model == tmp_path / "model"
    assert workspace.predictions == tmp_path / "predictions"
    assert workspace.report == tmp_path / "report.html"
    assert workspace.prepared("2d") == tmp_path / "prepared" / "2d"
    assert workspace.run("3d_fullres", 0) == tmp_path / "runs" / "3d_fullres" / "fold_0"
    assert workspace.run("3d_fullres", "all").name == "fold_all"
    assert list(tmp_path.iterdir()) == []
