"""SUV by body weight against the formula, and every header that leaves it open refused with the element's name."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from medseg.core.errors import FormatError
from medseg.io.dicom.pixels import read_frames
from medseg.io.dicom.suv import scale_to_suv
from tests.io.dicom.plane_files import header_of, make_dataset, pack

STORED = np.random.default_rng(0).integers(0, 30000, (5, 7), dtype=np.int16)
DOSE_BQ, HALF_LIFE_S, WEIGHT_KG = 3.5e8, 6586.2, 71.0
PET = {
    "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["NORM", "ATTN", "DECY"],
    "SeriesDate": "20200102", "SeriesTime": "113000", "AcquisitionDate": "20200102", "AcquisitionTime": "113000",
    "PatientWeight": WEIGHT_KG, "RescaleSlope": 0.25, "RescaleIntercept": 0,
}  # fmt: skip
DRUG = {
    "RadiopharmaceuticalStartTime": "103000.00", "RadionuclideTotalDose": DOSE_BQ, "RadionuclideHalfLife": HALF_LIFE_S,
}  # fmt: skip


def save(tmp_path, drug=None, name="a", private=None, **changes):
    dataset = make_dataset(STORED, **(PET | changes))
    if drug is not False:
        item = Dataset()
        for keyword, value in (DRUG | (drug or {})).items():
            if value is not None:
                setattr(item, keyword, value)
        dataset.RadiopharmaceuticalInformationSequence = Sequence([item])
    for group, owner, element, kind, value in private or ():
        dataset.private_block(group, owner, create=True).add_new(element, kind, value)
    dataset.add_new("PixelData", "OW", STORED.tobytes())
    (tmp_path / name).write_bytes(pack(dataset, ExplicitVRLittleEndian))
    return header_of(tmp_path / name)


def expect(elapsed_s):
    return WEIGHT_KG * 1000 / (DOSE_BQ * 0.5 ** (elapsed_s / HALF_LIFE_S))


def factor_of(*headers):
    scaled, notes = scale_to_suv(headers)
    assert {frame.scale.unit for frame in scaled} == {"SUVbw"}
    return scaled[0].scale.slope / headers[0].scale.slope, notes


def test_activity_becomes_suv(tmp_path):
    scaled, notes = scale_to_suv([save(tmp_path)])
    array = read_frames(scaled).array
    np.testing.assert_allclose(array[:, :, 0], STORED.T * 0.25 * expect(3600), rtol=1e-6)
    assert notes == ()


@pytest.mark.parametrize(
    ("changes", "drug", "elapsed_s", "noted"),
    [
        ({"DecayCorrection": "ADMIN"}, {}, 0, ""),
        ({}, {"RadiopharmaceuticalStartDateTime": "20200102103000.000000"}, 3600, ""),
        (
            {},
            {"RadiopharmaceuticalStartDateTime": "20200102093000+0100", "RadiopharmaceuticalStartTime": None},
            7200,
            "",
        ),
        (
            {"SeriesTime": "001000", "AcquisitionTime": "001000"},
            {"RadiopharmaceuticalStartTime": "235000"},
            1200,
            "day",
        ),
        ({"SeriesTime": "150000"}, {}, 3600, "earliest acquisition"),
        ({"SeriesTime": None, "SeriesDate": None}, {}, 3600, "earliest acquisition"),
        ({"SeriesTime": "112900", "AcquisitionTime": None}, {}, 3540, ""),
        ({}, {"RadiopharmaceuticalStartDateTime": "20150102103000"}, 3600, "contradicts"),
    ],
)
def test_times_of_scan_and_administration(tmp_path, changes, drug, elapsed_s, noted):
    factor, notes = factor_of(save(tmp_path, drug, **changes))
    assert factor == pytest.approx(expect(elapsed_s), rel=1e-9)
    assert (noted in notes[0]) if noted else notes == ()


def test_the_earliest_plane_counts_where_the_series_was_written_later(tmp_path):
    headers = [save(tmp_path, name=str(k), SeriesTime="150000", AcquisitionTime=f"11{36 - 3 * k}00") for k in range(4)]
    assert factor_of(*headers)[0] == pytest.approx(expect(57 * 60))


def test_ge_keeps_the_scan_time_in_an_element_of_its_own(tmp_path):
    private = [(0x0009, "GEMS_PETD_01", 0x0D, "DT", "20200102112900.00")]
    factor, notes = factor_of(save(tmp_path, private=private, SeriesTime="150000"))
    assert factor == pytest.approx(expect(3540))
    assert notes == ()


def test_philips_counts(tmp_path):
    owner = "Philips PET Private Group"
    suv = save(tmp_path, private=[(0x7053, owner, 0x00, "DS", "0.000551")], Units="CNTS")
    assert factor_of(suv)[0] == pytest.approx(0.000551)
    activity = save(
        tmp_path, private=[(0x7053, owner, 0x00, "DS", "0"), (0x7053, owner, 0x09, "DS", "1.25")], Units="CNTS"
    )
    assert factor_of(activity)[0] == pytest.approx(1.25 * expect(3600))
    with pytest.raises(FormatError, match=r"Units \(0054,1001\): CNTS without Philips' factors"):
        scale_to_suv([save(tmp_path, Units="CNTS")])


def test_values_that_are_suv_already(tmp_path):
    for kind in ("BW", None):
        assert factor_of(save(tmp_path, False, Units="GML", SUVType=kind)) == (1, ())
    with pytest.raises(FormatError, match=r"SUVType \(0054,1006\): SUV of the type 'LBM', expected BW"):
        scale_to_suv([save(tmp_path, Units="GML", SUVType="LBM")])


@pytest.mark.parametrize(
    ("changes", "drug", "text"),
    [
        ({"Units": None}, {}, r"Units \(0054,1001\): missing"),
        ({"Units": "PROPCPS"}, {}, r"Units \(0054,1001\): 'PROPCPS', expected BQML, CNTS or GML"),
        ({"PatientWeight": None}, {}, r"PatientWeight \(0010,1030\): missing"),
        ({"PatientWeight": 0}, {}, r"PatientWeight \(0010,1030\): 0 kg, expected 0.005 to 700 kg"),
        ({"PatientWeight": 71000}, {}, r"71000 kg"),
        ({"DecayCorrection": None}, {}, r"DecayCorrection \(0054,1102\): missing"),
        ({"DecayCorrection": "NONE"}, {}, r"DecayCorrection \(0054,1102\): 'NONE', expected START or ADMIN"),
        ({"CorrectedImage": None}, {}, r"CorrectedImage \(0028,0051\): missing"),
        ({"CorrectedImage": ["DECY", "NORM"]}, {}, r"no correction for attenuation \(ATTN\)"),
        ({"CorrectedImage": ["ATTN"]}, {}, r"no correction for decay \(DECY\)"),
        ({}, False, r"RadiopharmaceuticalInformationSequence \(0054,0016\): 0 items, expected one"),
        ({}, {"RadionuclideTotalDose": None}, r"RadionuclideTotalDose \(0018,1074\): missing"),
        ({}, {"RadionuclideTotalDose": 350}, r"RadionuclideTotalDose \(0018,1074\): 350 Bq, expected 100000"),
        ({}, {"RadionuclideHalfLife": None}, r"RadionuclideHalfLife \(0018,1075\): missing"),
        ({}, {"RadionuclideHalfLife": 0}, r"0 s, expected 30 to 1e\+06 s"),
        ({}, {"RadiopharmaceuticalStartTime": None}, r"RadiopharmaceuticalStartTime \(0018,1072\): missing"),
        ({}, {"RadionuclideHalfLife": 122.0}, r"3600 s before the scan, expected 0 to 1464 s"),
        ({"SeriesTime": None, "AcquisitionTime": None}, {}, r"SeriesTime \(0008,0031\): missing"),
    ],
)
def test_what_leaves_it_open_is_refused_by_name(tmp_path, changes, drug, text):
    with pytest.raises(FormatError, match=text) as caught:
        scale_to_suv([save(tmp_path, drug, **changes)])
    assert caught.value.code == "no_suv"
    assert caught.value.file == str(tmp_path / "a")
    assert caught.value.remedy


def test_one_series_has_one_unit(tmp_path):
    with pytest.raises(FormatError, match="2 different units"):
        scale_to_suv([save(tmp_path), save(tmp_path, name="b", Units="CNTS")])


@pytest.mark.parametrize(
    ("changes", "drug", "text"),
    [
        ({"PatientWeight": 31.0}, None, "PatientWeight .*'71.0' in a and '31.0' in b"),
        ({}, {"RadionuclideTotalDose": 7.5e8}, "RadionuclideTotalDose"),
        ({}, {"RadiopharmaceuticalStartTime": "123000.00"}, "RadiopharmaceuticalStartTime"),
    ],
)
def test_what_slices_share_is_one_value(tmp_path, changes, drug, text):
    planes = [save(tmp_path), save(tmp_path, drug, name="b", **changes)]
    with pytest.raises(FormatError, match=text):
        scale_to_suv(planes)
