"""Frames of multi-frame files: their places, scales and moments, with and without functional groups."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from medseg.core.errors import FormatError
from medseg.io.dicom.enhanced import list_frames
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.identity import quiet
from medseg.io.dicom.moments import split_moments
from medseg.io.dicom.pixels import read_frames
from medseg.io.dicom.read import read_series
from tests.io.dicom.plane_files import header_of, make_dataset, pack

ENHANCED_MR, DOSE, NUCLEAR = (
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.481.2",
    "1.2.840.10008.5.1.4.1.1.20",
)
ORIENTATION = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]  # normal: -x
NO_PLACE = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
VALUES = np.random.default_rng(0).integers(0, 4096, (6, 3, 4), dtype=np.uint16)
SPACING = {"PixelSpacing": [0.5, 0.75], "SliceThickness": 2}


def item(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def group(**values):
    return Sequence([item(**values)])


def save(tmp_path, frames, shared, stored=VALUES, syntax=ExplicitVRLittleEndian, **changes):
    """A multi-frame file with a functional group item per frame."""
    dataset = make_dataset(stored, SOPClassUID=ENHANCED_MR, **({"Modality": "MR"} | NO_PLACE | changes))
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.add_new("PixelData", "OW", stored.tobytes())
    path = tmp_path / "frames"
    path.write_bytes(pack(dataset, syntax))
    return header_of(path)


def frame_item(k, **content):
    return item(
        PlanePositionSequence=group(ImagePositionPatient=[-2.0 * k, 5, 7]),
        FrameContentSequence=group(StackID="1", **content),
    )


def shared_item(**more):
    return item(
        PlaneOrientationSequence=group(ImageOrientationPatient=ORIENTATION),
        PixelMeasuresSequence=group(**SPACING),
        **more,
    )


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_places_scales_and_values(tmp_path, syntax):
    frames = [frame_item(k, InStackPositionNumber=k + 1) for k in range(6)]
    for k, frame in enumerate(frames):
        frame.PixelValueTransformationSequence = group(RescaleSlope=k + 0.5, RescaleIntercept=-k, RescaleType="US")
    found = list_frames(save(tmp_path, frames, shared_item(), syntax=syntax))
    assert [frame.number for frame in found] == [1, 2, 3, 4, 5, 6]
    for k, frame in enumerate(found):
        assert frame.place.position_mm == (-2.0 * k, 5, 7)
        assert frame.place.orientation == tuple(ORIENTATION)
        assert (frame.place.spacing_mm, frame.place.thickness_mm) == ((0.5, 0.75), 2)
        assert (frame.scale.slope, frame.scale.intercept, frame.scale.unit) == (k + 0.5, -k, "US")
    array = read_frames(found).array
    slopes = np.arange(6)[:, None, None]
    np.testing.assert_allclose(array, (VALUES * (slopes + 0.5) - slopes).transpose(2, 1, 0), rtol=1e-6)


def test_a_scale_that_all_frames_share(tmp_path):
    shared = shared_item(
        PixelValueTransformationSequence=group(RescaleSlope=2, RescaleIntercept=-1024, RescaleType="HU")
    )
    found = list_frames(save(tmp_path, [frame_item(k) for k in range(6)], shared))
    assert {(frame.scale.slope, frame.scale.intercept, frame.scale.unit) for frame in found} == {(2, -1024, "HU")}
    array = read_frames(found).array
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, VALUES.transpose(2, 1, 0).astype(int) * 2 - 1024)


def echoes(k):
    return {"MREchoSequence": group(EffectiveEchoTime=10.0 + 5 * (k // 3))}


def diffusion(k):
    return {"MRDiffusionSequence": group(DiffusionBValue=500.0 * (k // 3))}


def components(k):
    kind = ["MAGNITUDE", "PHASE"][k // 3]
    return {"MRImageFrameTypeSequence": group(FrameType=["ORIGINAL", "PRIMARY"], ComplexImageComponent=kind)}


def phases(k):
    return {"CardiacSynchronizationSequence": group(NominalCardiacTriggerDelayTime=40.0 * (k // 3))}


@pytest.mark.parametrize(
    ("what", "words"), [(echoes, "echo"), (diffusion, "b value"), (components, "image type"), (phases, "phase")]
)
def test_frames_at_one_place_become_volumes(tmp_path, what, words):
    frames = []
    for k in range(6):
        frame = frame_item(k % 3)
        frame.update(item(**what(k)))
        frames.append(frame)
    volumes = split_moments(list_frames(save(tmp_path, frames, shared_item())))
    assert [sorted(frame.number for frame in planes) for _, planes in volumes] == [[1, 2, 3], [4, 5, 6]]
    assert all(words in label for label, _ in volumes)


@pytest.mark.parametrize(
    "content",
    [
        lambda k: {"TemporalPositionIndex": k // 3 + 1},
        lambda k: {"FrameAcquisitionNumber": k // 3 + 1},
        lambda k: {"FrameReferenceDateTime": f"2020010110{k // 3:02}{k % 3:02}.5"},
        lambda k: {"DimensionIndexValues": [1, k % 3 + 1, k // 3 + 1]},
    ],
    ids=["index", "acquisition", "time", "dimension"],
)
def test_times_become_volumes(tmp_path, content):
    frames = [frame_item(k % 3, **content(k)) for k in range(6)]
    header = save(tmp_path, frames, shared_item(), DimensionIndexSequence=Sequence([
        item(DimensionIndexPointer=pointer) for pointer in (0x00209056, 0x00209057, 0x00186011)
    ]))  # fmt: skip
    volumes = split_moments(list_frames(header))
    assert [sorted(frame.number for frame in planes) for _, planes in volumes] == [[1, 2, 3], [4, 5, 6]]


def test_dimensions_that_only_count_places_divide_nothing(tmp_path):
    frames = [frame_item(k, InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1]) for k in range(6)]
    header = save(tmp_path, frames, shared_item(), DimensionIndexSequence=Sequence([
        item(DimensionIndexPointer=pointer) for pointer in (0x00209056, 0x00209057)
    ]))  # fmt: skip
    assert len(split_moments(list_frames(header))) == 1


def test_enhanced_pet_names_its_unit_in_the_mapping(tmp_path):
    mapping = group(
        RealWorldValueSlope=0.5, RealWorldValueIntercept=0.0, MeasurementUnitsCodeSequence=group(CodeValue="Bq/ml")
    )
    header = save(
        tmp_path, [frame_item(k) for k in range(6)], shared_item(RealWorldValueMappingSequence=mapping), Modality="PT"
    )
    assert {(frame.scale.slope, frame.scale.unit) for frame in list_frames(header)} == {(0.5, "Bq/ml")}


@pytest.mark.parametrize(
    ("lack", "text"),
    [
        ("PlaneOrientationSequence", r"frame 1: ImageOrientationPatient \(0020,0037\) is missing"),
        ("PixelMeasuresSequence", r"frame 1: PixelSpacing \(0028,0030\) is missing"),
    ],
)
def test_what_lacks_a_place_is_refused(tmp_path, lack, text):
    shared = shared_item()
    del shared[lack]
    with pytest.raises(FormatError, match=text) as caught:
        list_frames(save(tmp_path, [frame_item(k) for k in range(6)], shared))
    assert caught.value.code == "no_place"


def test_a_frame_without_position_is_named(tmp_path):
    frames = [frame_item(k) for k in range(6)]
    del frames[4].PlanePositionSequence
    with pytest.raises(FormatError, match=r"frame 5: ImagePositionPatient \(0020,0032\) is missing"):
        list_frames(save(tmp_path, frames, shared_item()))


def test_another_number_of_groups_is_refused(tmp_path):
    with pytest.raises(FormatError, match="functional groups of 5 frames, expected 6") as caught:
        list_frames(save(tmp_path, [frame_item(k) for k in range(5)], shared_item()))
    assert caught.value.code == "frame_count"


def save_plain(tmp_path, **changes):
    """A multi-frame file without functional groups."""
    dataset = make_dataset(VALUES, **changes)
    dataset.add_new("PixelData", "OW", VALUES.tobytes())
    path = tmp_path / "plain"
    path.write_bytes(pack(dataset, ExplicitVRLittleEndian))
    return header_of(path)


@pytest.mark.parametrize("offsets", [[0, 2.5, 5, 7.5, 10, 12.5], [100, 102.5, 105, 107.5, 110, 112.5]])
def test_frame_offsets_without_groups(tmp_path, offsets):
    header = save_plain(
        tmp_path, SOPClassUID=DOSE, GridFrameOffsetVector=offsets, ImagePositionPatient=[1, 2, 3],
        ImageOrientationPatient=ORIENTATION,
    )  # fmt: skip
    found = list_frames(header)
    assert [frame.place.position_mm for frame in found] == [(1 - 2.5 * k, 2, 3) for k in range(6)]
    np.testing.assert_array_equal(read_frames(found).array, VALUES.transpose(2, 1, 0))


@pytest.mark.parametrize("step", [4.0, -4.0])
def test_slices_of_nuclear_medicine(tmp_path, step):
    detector = group(ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    header = save_plain(
        tmp_path, SOPClassUID=NUCLEAR, Modality="NM", SpacingBetweenSlices=step, NumberOfSlices=6,
        DetectorInformationSequence=detector, **(NO_PLACE | {"PixelSpacing": [2, 2]}),
    )  # fmt: skip
    assert [frame.place.position_mm for frame in list_frames(header)] == [(1, 2, 3 + step * k) for k in range(6)]


def test_frames_that_nothing_places_are_refused(tmp_path):
    with pytest.raises(FormatError, match="nothing says where its 6 frames lie") as caught:
        list_frames(save_plain(tmp_path, SpacingBetweenSlices=4))
    assert caught.value.code == "no_place"
    with pytest.raises(FormatError, match=r"GridFrameOffsetVector \(3004,000C\) of 3 values, expected 6"):
        list_frames(save_plain(tmp_path, GridFrameOffsetVector=[0, 1, 2]))


def test_damaged_groups_are_refused_or_read(tmp_path):
    rng = np.random.default_rng(1)
    header = save(tmp_path, [frame_item(k, InStackPositionNumber=k + 1) for k in range(6)], shared_item())
    whole = np.frombuffer(header.path.read_bytes(), np.uint8)
    start = whole.tobytes().find(b"\x00\x52")  # the functional groups
    refused = 0
    for _ in range(200):
        data = whole.copy()
        places = rng.integers(start, len(data) - VALUES.nbytes, 3)
        data[places] = rng.integers(0, 256, 3)
        header.path.write_bytes(data.tobytes())
        try:
            assert len(list_frames(header)) == 6
        except FormatError:
            refused += 1
    assert 20 < refused < 200


def test_words_of_a_file_stay_on_one_line(tmp_path):
    odd = "<b>\x1b[31m\n" + "x" * 100
    frames = [frame_item(k) for k in range(6)]
    for frame in frames:
        frame.MRImageFrameTypeSequence = group(FrameType="ORIGINAL")
        frame.PixelValueTransformationSequence = Sequence([Dataset()])
        with quiet():
            frame.FrameContentSequence[0].add_new("StackID", "LO", odd)
            frame.PixelValueTransformationSequence[0].add_new("RescaleType", "LO", odd)
    with quiet():
        header = save(tmp_path, frames, shared_item())
    for frame in list_frames(header):
        for text in (frame.moment.stack, frame.scale.unit):
            assert text.isprintable()
            assert len(text) == 64
        assert frame.moment.image_type == ("ORIGINAL",)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_of_two_echoes_is_two_volumes_in_the_world(tmp_path, compressed):
    """Voxels say where they are: 10 x + 100 y + z in millimetres (RAS), plus 1000 for the second echo."""
    rows, columns, count = 8, 9, 4
    stored = np.empty((2 * count, rows, columns), np.int16)
    frames = []
    for k in range(2 * count):
        # Rows run to the back, columns to the feet, frames from left to right of the patient, in mixed order.
        place = (3 * k) % count
        position = np.array([-4.0 * place, 5, 7])
        row, column = np.array(ORIENTATION).reshape(2, 3)
        grid = position + np.arange(columns)[None, :, None] * row + np.arange(rows)[:, None, None] * column
        x, y, z = -grid[..., 0], -grid[..., 1], grid[..., 2]
        stored[k] = 10 * x + 100 * y + z + 1000 * (k // count)
        frame = item(PlanePositionSequence=group(ImagePositionPatient=position.tolist()), **echoes(3 * (k // count)))
        frames.append(frame)
    shared = shared_item()
    shared.PixelMeasuresSequence = group(PixelSpacing=[1, 1], SliceThickness=4)
    header = save(tmp_path, frames, shared, stored=stored)
    if compressed:
        whole = pydicom.dcmread(header.path)
        whole.compress(RLELossless)
        whole.save_as(header.path)
    tree = find_series(tmp_path)
    assert len(tree.series) == 2
    for number, series in enumerate(tree.series):
        volume, source, _ = read_series(series)
        x, y, z = np.moveaxis(volume.geometry.to_world(np.moveaxis(np.indices(volume.geometry.shape), 0, -1)), -1, 0)
        np.testing.assert_array_equal(volume.array[0], 10 * x + 100 * y + z + 1000 * number)
        assert {frame.path for frame in source.frames} == {header.path}
        assert sorted(frame.number for frame in source.frames) == [4 * number + k for k in (1, 2, 3, 4)]
