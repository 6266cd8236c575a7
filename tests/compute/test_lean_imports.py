"""Commands leave out what they never use of libraries; programs that import medseg find their libraries whole."""

import subprocess
import sys

import pytest

FIND = "import sys; print(*[name for name in ('pydicom', 'scipy.linalg') if name in sys.modules])"
COMMAND = "from medseg.compute.lean_imports import allow_lean_imports; allow_lean_imports()"
LOOP = """
import numpy as np
from medseg.compute.loops import compile_loop
@compile_loop
def add(values):
    total = 0
    for value in values:
        total += value
    return total
assert add(np.arange(4)) == 6
"""


def run(*parts: str) -> list[str]:
    found = subprocess.run([sys.executable, "-c", "\n".join(parts)], capture_output=True, text=True, check=True)
    return found.stdout.split()


@pytest.mark.parametrize("part", ["import medseg.io.nifti", LOOP])
def test_a_command_leaves_out_what_it_never_uses(part: str) -> None:
    assert run(COMMAND, part, FIND) == []


def test_what_was_left_out_is_found_later() -> None:
    use = "import pydicom.dataset, scipy.linalg; import nibabel; assert not nibabel.nifti1.have_dicom"
    assert run(COMMAND, "import medseg.io.nifti", LOOP, use, FIND) == ["pydicom", "scipy.linalg"]


def test_what_is_loaded_already_stays() -> None:
    use = "import nibabel; assert nibabel.nifti1.have_dicom"
    assert run(COMMAND, "import pydicom", "import medseg.io.nifti", use, FIND) == ["pydicom"]


def test_a_program_finds_its_libraries_whole() -> None:
    product = "import numba, numpy; assert numba.njit(lambda a: numpy.dot(a, a))(numpy.ones((2, 2)))[0, 0] == 2"
    use = "import nibabel; assert nibabel.nifti1.have_dicom"
    assert run("import medseg.io.nifti", LOOP, product, use, FIND) == ["pydicom", "scipy.linalg"]
