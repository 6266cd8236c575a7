"""Archives that are damaged inside, whatever they are compressed by."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import FormatError
from medseg.inference.nnunet.archive import extract_models


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_entry_is_the_archives_fault(compression: int, tmp_path: Path) -> None:
    file, folder = tmp_path / "model.zip", tmp_path / "out"
    folder.mkdir()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("plans.json", np.random.default_rng(0).bytes(3000))
    content = bytearray(file.read_bytes())
    for place in range(60, 120):
        content[place] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(FormatError, match="damaged") as caught:
        extract_models(file, folder)
    assert (caught.value.code, caught.value.file) == ("not_a_zip", str(file))
