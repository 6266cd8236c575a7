"""A decoder that dies is one refused case; the cases after it are read."""

import numpy as np
import pytest
import SimpleITK

from medseg.compute import map_cases
from medseg.compute.child import end_children
from medseg.core.dataset import Case, ImageSource
from medseg.core.errors import FormatError
from medseg.io import decoding, read_image, read_volume

VALUES = np.random.default_rng(0).integers(0, 200, (6, 5, 4)).astype(np.int16)
DYING = """
import os, signal
from medseg.compute.child import serve
from medseg.io.decoder_child import decode

def answer(request):
    if "killer" in request["path"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "glutton" in request["path"]:
        bytearray(1 << 34)
    if "liar" in request["path"]:
        content, raw = decode(request)
        return {**content, "shape": [1, 2, 3]}, raw
    return decode(request)

serve(answer)
"""


@pytest.fixture
def dying(tmp_path, monkeypatch):
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    monkeypatch.setattr(decoding, "SCRIPT", script)
    yield
    end_children()


def save(path):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VALUES.transpose(2, 1, 0)), str(path))
    return path


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("killer", "decoder_died", "the decoder crashed: it was ended by SIGSEGV"),
        ("glutton", "decoder_memory", "ran out of memory"),
        ("liar", "corrupt", "bytes for int16 voxels"),
    ],
)
def test_a_dying_decoder_is_one_refused_file(dying, tmp_path, name, code, text):
    with pytest.raises(FormatError, match=text) as caught:
        read_image(save(tmp_path / f"{name}.nrrd"))
    assert caught.value.code == code
    assert caught.value.remedy
    np.testing.assert_array_equal(read_image(save(tmp_path / "sound.mha")).array[0], VALUES)


def test_the_other_cases_go_on(dying, tmp_path):
    names = ["a", "killer_1", "b", "killer_2", "c"]
    cases = [Case(name, (ImageSource(save(tmp_path / f"{name}.nrrd")),)) for name in names]
    volumes, refused = map_cases(read_volume, cases, lambda case: case.name, threads=2)
    assert len(volumes) == 3
    assert [(outcome.case, outcome.status, outcome.code) for outcome in refused] == [
        ("killer_1", "refused", "decoder_died"),
        ("killer_2", "refused", "decoder_died"),
    ]


def test_a_slow_decoder_is_stopped(tmp_path, monkeypatch):
    script = tmp_path / "slow.py"
    script.write_text("import time\nfrom medseg.compute.child import serve\nserve(lambda request: time.sleep(60))\n")
    monkeypatch.setattr(decoding, "SCRIPT", script)
    monkeypatch.setattr(decoding, "SECONDS", 1.0)
    with pytest.raises(FormatError, match="longer than 1 s") as caught:
        read_image(save(tmp_path / "x.nrrd"))
    assert caught.value.code == "decoder_timeout"
