"""What medseg writes in DICOM, by others' judgement: dciodvfy finds no fault, dcmqi and highdicom find every voxel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg import pipeline
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.io.dicom.key_pictures import write_key_pictures
from medseg.io.dicom.report_sr import write_report
from medseg.io.dicom.seg_write import write_seg, write_seg_probabilities
from medseg.io.dicom.source import DicomSource
from medseg.measurement import measure_case
from medseg.shapes.components import find_components
from tests.inference.examples import write_model
from tests.io.dicom.small_series import LABELS, make_geometry, make_mask, write_series
from tests.io.dicom_series import pile, write

# A 12 x 10 frame fills whole bytes, one of 13 x 9 does not: its bits run on into the next frame's.
SHAPES = ((12, 10, 6), (13, 9, 7))


def find_program(name: str) -> str:
    """A judge's program beside this Python, or on the path; skips where it is not installed."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (group bench)")
    return found


def find_faults(path: Path) -> list[str]:
    """dciodvfy's errors and warnings, but for one: that Laterality may be empty only where it is unknown, as it is."""
    result = subprocess.run(
        [find_program("dciodvfy"), "-new", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    lines = (result.stdout + result.stderr).splitlines()
    return [line for line in lines if line.startswith(("Error", "Warning")) and "Laterality" not in line]


def make_source(folder: Path, shape: tuple[int, int, int], multiframe: bool = False) -> DicomSource:
    return write_series(folder / "series", make_geometry(shape, oblique=True), multiframe=multiframe)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("multiframe", [False, True])
def test_dciodvfy_finds_no_fault(tmp_path: Path, shape: tuple[int, int, int], multiframe: bool) -> None:
    source = make_source(tmp_path, shape, multiframe)
    mask = make_mask(source.geometry)
    image = np.random.default_rng(0).normal(0, 400, (1, *shape)).astype(np.float32)
    volume = Volume(image, source.geometry, ("CT",))
    rows = measure_case(mask, LABELS, volume=volume, case="c1")
    written = [
        write_seg(tmp_path / "binary.dcm", mask, LABELS, source, lesion_labels=["liver tumour"]),
        write_seg(tmp_path / "map.dcm", mask, LABELS, source, kind="labelmap"),
        write_seg(tmp_path / "none.dcm", Segmentation(mask.array * 0, source.geometry), LABELS, source),
        write_seg_probabilities(
            tmp_path / "fraction.dcm", {name: np.abs(np.sin(image[0])) for name in LABELS.names}, source.geometry,
            LABELS, source,
        ),
    ]  # fmt: skip
    for seg in written:
        assert find_faults(seg.path) == []
    assert find_faults(write_report(tmp_path / "sr.dcm", rows, written[0], source).path) == []
    for picture in write_key_pictures(tmp_path, volume, written[0], source):
        assert find_faults(picture.path) == []


@pytest.mark.parametrize("seg_type", ["binary", "labelmap", "fractional"])
def test_dciodvfy_finds_no_fault_in_what_predict_writes(tmp_path: Path, seg_type: Any) -> None:
    write_model(tmp_path / "model", folds=(0,))
    for number, date in ((1, "20240501"), (2, "20240807")):
        header = {"StudyInstanceUID": f"1.2.3.{number}", "SeriesInstanceUID": f"1.2.4.{number}", "StudyDate": date}
        planes = [replace(plane, shape=(14, 15)).but(StudyID="S1", **header) for plane in pile(9)]
        write(tmp_path / "tree" / str(number), planes)
    out = tmp_path / "out"
    pipeline.predict(
        tmp_path / "tree", out, model=tmp_path / "model", device="cpu", mirroring=False, seg_type=seg_type, follow=out,
        file_format="dicom-seg,rtstruct,sr,key-pictures",
    )  # fmt: skip
    written = sorted(out.rglob("*.dcm"))
    assert {path.name.split(".", 1)[1] for path in written} >= {"seg.dcm", "rtstruct.dcm", "sr.dcm", "dcm"}
    for path in written:
        assert find_faults(path) == []


def test_dcmqi_and_highdicom_find_every_lesion(tmp_path: Path) -> None:
    import SimpleITK

    highdicom: Any = pytest.importorskip("highdicom")
    shape = (30, 26, 20)
    source = make_source(tmp_path, shape)
    array = np.zeros(shape, np.uint8)
    array[1::4, 1::4, 1::4] = 3
    array[2::8, 1::4, 1::4] = 3
    array[0, :, 0] = 1
    written = write_seg(tmp_path / "seg.dcm", Segmentation(array, source.geometry), LABELS, source,
                        lesion_labels=["liver tumour"])  # fmt: skip
    assert len(written.segments) > 200
    assert find_faults(written.path) == []
    bodies, count = find_components(array == 3)
    assert count == len(written.segments) - 1
    volume = highdicom.seg.segread(written.path).get_volume(combine_segments=True)
    index = source.geometry.to_index(np.argwhere(volume.array) @ volume.affine[:3, :3].T * (-1, -1, 1)
                                     + volume.affine[:3, 3] * (-1, -1, 1))  # fmt: skip
    found = np.zeros(shape, int)
    found[tuple(np.rint(index).astype(int).T)] = volume.array[volume.array != 0]
    assert np.array_equal(found, np.where(array == 1, 1, np.where(bodies > 0, bodies + 1, 0)))
    command = [find_program("segimage2itkimage"), "--inputDICOM", str(written.path), "--outputDirectory", str(tmp_path)]
    subprocess.run([*command, "-t", "nrrd"], check=True, capture_output=True, timeout=60)
    for number in (1, 2, 101, len(written.segments)):
        image: Any = SimpleITK.ReadImage(str(tmp_path / f"{number}.nrrd"))
        assert np.count_nonzero(SimpleITK.GetArrayFromImage(image)) == written.segments[number - 1].voxels


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_dcmqi_finds_every_voxel(tmp_path: Path, shape: tuple[int, int, int], kind: Any) -> None:
    import SimpleITK

    source = make_source(tmp_path, shape)
    mask = make_mask(source.geometry)
    written = write_seg(tmp_path / "seg.dcm", mask, LABELS, source, kind=kind)
    command = [find_program("segimage2itkimage"), "--inputDICOM", str(written.path), "--outputDirectory", str(tmp_path)]
    subprocess.run([*command, "-t", "nrrd"], check=True, capture_output=True, timeout=60)
    for number in (1,) if kind == "labelmap" else (1, 2, 3):
        image: Any = SimpleITK.ReadImage(str(tmp_path / f"{number}.nrrd"))
        array = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
        places = np.argwhere(array)
        columns = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        world = (places @ columns.T + image.GetOrigin()) * (-1, -1, 1)
        index = source.geometry.to_index(world)
        assert np.abs(index - np.rint(index)).max() < 1e-3
        found = np.zeros(shape, int)
        found[tuple(np.rint(index).astype(int).T)] = array[tuple(places.T)]
        wanted = mask.array if kind == "labelmap" else (mask.array == number) * number
        assert np.array_equal(found, wanted)
    names = [entry["SegmentLabel"] for group in json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
             for entry in group]  # fmt: skip
    assert sorted(names) == sorted(LABELS.names)


def test_highdicom_finds_every_voxel(tmp_path: Path) -> None:
    highdicom: Any = pytest.importorskip("highdicom")
    source = make_source(tmp_path, SHAPES[1])
    mask = make_mask(source.geometry)
    regions = LabelScheme.make({"whole": [1, 3], "core": [3], "kidney": [2]})
    write_seg(tmp_path / "seg.dcm", mask, regions, source)
    volume = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume()
    affine = np.diag([-1, -1, 1, 1]) @ volume.affine
    for place, name in enumerate(regions.names):
        layer = volume.array[..., place]
        index = source.geometry.to_index(np.argwhere(layer) @ affine[:3, :3].T + affine[:3, 3])
        found = np.zeros(mask.array.shape, bool)
        found[tuple(np.rint(index).astype(int).T)] = True
        assert np.array_equal(found, regions.mask(mask.array, name))
