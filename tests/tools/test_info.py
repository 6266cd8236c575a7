import json
from importlib.metadata import version

import numpy as np
from packaging.requirements import Requirement

from medseg.tools.info import Package, info, list_packages, name_extras


def test_what_is_installed_is_told() -> None:
    result = info()
    assert result.outcomes == []
    assert result.content["packages"]["numpy"] == np.__version__
    assert result.content["packages"]["torch"] == version("torch")
    assert result.content["cores"] >= 1
    assert 0 < result.content["free_memory_gb"] < 1e5
    assert f"numpy {np.__version__}" in result.text
    assert json.loads(result.to_json())["medseg"] == result.content["medseg"]


def test_requirements_are_the_projects() -> None:
    packages = list_packages()
    needed = {package.requirement.name for package in packages if not package.extra}
    assert {"numpy", "torch", "nibabel", "pydantic"} <= needed
    assert "medseg" not in {package.requirement.name for package in packages}
    assert all(package.is_usable for package in packages if not package.extra)
    assert {"onnx", "openvino"} <= {package.extra for package in packages}


def test_an_extra_is_there_with_all_its_libraries() -> None:
    def make(name: str, extra: str, found: str | None) -> Package:
        return Package(Requirement(name), extra, found)

    there = [make("a>=2", "one", "2.1"), make("b", "one", "1"), make("c>=3", "two", "2.9"), make("d", "three", None)]
    assert name_extras([*there, make("e", "", "1")]) == {"one"}
