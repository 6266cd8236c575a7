"""Prepared cases against nnU-Net's own preprocessor."""

import numpy as np
import pytest

preprocessor = pytest.importorskip(
    "nnunetv2.preprocessing.preprocessors.default_preprocessor", reason="nnunetv2 (bench group) is not installed"
)

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: E402

from medseg.core.plan import NormalisationPlan  # noqa: E402
from medseg.preprocessing import prepare_case  # noqa: E402
from tests.preprocessing.examples import CLASSES, make_plan, make_scan  # noqa: E402

RESAMPLING = "resample_data_or_seg_to_shape"
INTENSITIES = {"mean": 300.0, "std": 150.0, "percentile_00_5": 20.0, "percentile_99_5": 700.0}


def make_plans(spacing_mm: tuple[float, float, float], transpose: tuple[int, int, int]) -> PlansManager:
    configuration = {
        "data_identifier": "x",
        "architecture": {},
        "preprocessor_name": "DefaultPreprocessor",
        "spacing": list(spacing_mm),
        "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
        "use_mask_for_norm": [False, True],
        "resampling_fn_data": RESAMPLING,
        "resampling_fn_seg": RESAMPLING,
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    }
    return PlansManager(
        {
            "transpose_forward": list(transpose),
            "foreground_intensity_properties_per_channel": {"0": INTENSITIES, "1": INTENSITIES},
            "configurations": {"3d_fullres": configuration},
        }
    )


@pytest.mark.parametrize(
    ("scan_mm", "wanted_mm"),
    [
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        ((1.0, 0.9, 1.5), (1.2, 0.8, 0.8)),
        ((1.0, 0.8, 5.0), (4.0, 0.7, 0.7)),
        ((5.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        ((0.3, 1.25, 1.25), (1.0, 1.0, 1.0)),
    ],
)
def test_equals_nnunets(scan_mm: tuple[float, float, float], wanted_mm: tuple[float, float, float]) -> None:
    volume, segmentation = make_scan(channels=2, spacing_mm=scan_mm)
    order = (2, 0, 1)
    normalisation = (
        NormalisationPlan(scheme="ct", mean=300.0, sd=150.0, low=20.0, high=700.0),
        NormalisationPlan(scheme="zscore", inside_mask=True),
    )
    plan, configuration = make_plan(wanted_mm, normalisation, axis_order=order, labels=CLASSES)
    prepared = prepare_case(volume, segmentation, plan, configuration)
    exact = prepare_case(volume, segmentation, plan, configuration, exact=True)

    plans = make_plans(wanted_mm, order)
    dataset = {"labels": {"background": 0, "organ": 1, "tumour": 3}, "channel_names": {"0": "CT", "1": "MR"}}
    data, seg, _ = preprocessor.DefaultPreprocessor(verbose=False).run_case_npy(
        volume.array,
        segmentation.array.astype(np.int16)[None],
        {"spacing": list(scan_mm)},  # nnU-Net reorders it as it does the axes
        plans,
        plans.get_configuration("3d_fullres"),
        dataset,
    )
    assert prepared.image.shape == data.shape
    assert np.abs(prepared.image - data).max() < 2e-5 * np.ptp(data)
    # The last bit of a float32 may differ where two ways to the same float64 round to either side.
    assert np.mean(exact.image != data) < 1e-4
    assert np.abs(exact.image - data).max() < 2e-7 * np.abs(data).max()
    assert np.mean(prepared.reference != np.maximum(seg[0], 0)) < 1e-3
