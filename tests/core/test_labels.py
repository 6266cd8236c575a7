"""LabelScheme: values to channels and back, regions, ignore, sides."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, FormatError
from medseg.core.labels import IGNORED, LabelScheme

names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8).filter(
    lambda name: name.lower() not in ("ignore", "background")
)


@st.composite
def class_schemes(draw: st.DrawFn) -> LabelScheme:
    """Exclusive classes with any values, with or without an ignore label."""
    values = draw(st.lists(st.integers(1, 254), min_size=1, max_size=6, unique=True))
    keys = draw(st.lists(names, min_size=len(values), max_size=len(values), unique=True))
    labels: dict[str, Any] = dict(zip(keys, values, strict=True))
    if draw(st.booleans()):
        labels["ignore"] = draw(st.sampled_from([value for value in range(1, 256) if value not in values]))
    return LabelScheme.make({"background": 0, **labels})


def label_map(scheme: LabelScheme) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.choice(scheme.values, size=(5, 6, 7)).astype(scheme.value_type())


@given(class_schemes())
def test_json_round_trip(scheme: LabelScheme) -> None:
    import json

    assert LabelScheme.parse(json.loads(scheme.to_json())) == scheme


@given(class_schemes())
def test_classes_to_channels_and_back(scheme: LabelScheme) -> None:
    array = label_map(scheme)
    channels = scheme.channel_table()[:, array]
    assert channels.shape == (scheme.channel_count, *array.shape)
    labelled = np.ones(array.shape, bool) if scheme.ignore is None else array != scheme.ignore
    if scheme.output == "softmax":
        # Exactly one channel holds each labelled voxel, none an ignored one.
        np.testing.assert_array_equal(channels.sum(axis=0), labelled)
        back = np.array(scheme.channel_values())[channels.argmax(axis=0)]
    else:
        back = channels[0] * scheme.channel_values()[0]
    np.testing.assert_array_equal(back[labelled], array[labelled])


@given(class_schemes())
def test_channels_are_the_masks(scheme: LabelScheme) -> None:
    array = label_map(scheme)
    channels = scheme.channel_table()[:, array][-len(scheme.names) :]
    for name, channel in zip(scheme.names, channels, strict=True):
        np.testing.assert_array_equal(scheme.mask(array, name), channel == 1)


@given(class_schemes().filter(lambda scheme: scheme.output == "softmax"))
def test_class_table(scheme: LabelScheme) -> None:
    table = scheme.class_table()
    assert table[0] == 0
    for index, values in enumerate(scheme.labels.values(), start=1):
        assert table[values[0]] == index
    assert scheme.ignore is None or table[scheme.ignore] == IGNORED


def test_regions_as_in_brats() -> None:
    # BraTS: 1 necrosis, 2 oedema, 3 enhancing tumour; nnU-Net paints them with regions_class_order 2, 1, 3.
    labels = {"background": 0, "whole": [1, 2, 3], "core": [1, 3], "enhancing": 3}
    scheme = LabelScheme.make(labels, paint_order=(2, 1, 3))
    assert scheme.names == ("whole", "core", "enhancing")
    assert scheme.output == "sigmoid"
    assert scheme.channel_count == 3
    assert scheme.has_regions
    array = np.array([[[0, 1, 2, 3]]], np.uint8)
    channels = scheme.channel_table()[:, array]
    np.testing.assert_array_equal(channels[:, 0, 0], [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
    painted = np.zeros_like(array)
    for channel, value in zip(channels, scheme.channel_values(), strict=True):
        painted[channel == 1] = value
    np.testing.assert_array_equal(painted, array)
    np.testing.assert_array_equal(scheme.mask(array, "core")[0, 0], [False, True, False, True])


def test_one_class_has_one_channel() -> None:
    scheme = LabelScheme.make({"background": 0, "tumour": 255})
    assert (scheme.channel_count, scheme.output, scheme.channel_values()) == (1, "sigmoid", (255,))
    assert scheme.values == (0, 255)


def test_one_class_of_a_foreign_network_keeps_its_softmax() -> None:
    scheme = LabelScheme.make({"tumour": 1}, output="softmax")
    assert (scheme.channel_count, scheme.channel_values()) == (2, (0, 1))


def test_ignore_is_no_class() -> None:
    scheme = LabelScheme.make({"background": 0, "liver": 1, "tumour": 2, "ignore": 3})
    assert scheme.names == ("liver", "tumour")
    assert scheme.ignore == 3
    assert scheme.channel_count == 3
    assert scheme.channel_table()[:, 3].sum() == 0
    assert scheme.values == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({}, "no_labels"),
        ({"background": 0}, "no_labels"),
        ({"background": 0, "ignore": 1}, "no_labels"),
        ({"a": 1, "b": 1}, "bad_labels"),
        ({"a": 1, "ignore": 1}, "bad_labels"),
        ({"whole": [1, 2], "ignore": 2}, "bad_labels"),
        ({"a": -1}, "bad_labels"),
        ({"a": 1.5}, "bad_labels"),
        ({"a": "liver"}, "bad_labels"),
        ({"a": None}, "bad_labels"),
        ({"a": []}, "bad_labels"),
        ({"a": 70000}, "bad_labels"),
    ],
)
def test_impossible_labels_are_refused(labels: dict[str, Any], code: str) -> None:
    with pytest.raises(DatasetError) as caught:
        LabelScheme.make(labels)
    assert caught.value.code == code


def test_paint_order_must_fit_the_regions() -> None:
    with pytest.raises(DatasetError, match="2 entries for 3 regions"):
        LabelScheme.make({"whole": [1, 2], "core": 1, "rim": 2}, paint_order=(1, 2))


def test_a_record_without_labels_is_refused() -> None:
    with pytest.raises(FormatError, match="labels"):
        LabelScheme.parse({"labels": {}})


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        (("left kidney", "right kidney", "liver"), (("left kidney", "right kidney"),)),
        (("kidney_left", "kidney_right"), (("kidney_left", "kidney_right"),)),
        (("Left Lung", "Right Lung"), (("Left Lung", "Right Lung"),)),
        (("hippocampus_l", "hippocampus_r"), (("hippocampus_l", "hippocampus_r"),)),
        (("left kidney", "liver"), ()),
        (("leftover", "rightover"), ()),
        (("liver", "river"), ()),
    ],
)
def test_sides(labels: tuple[str, ...], pairs: tuple[tuple[str, str], ...]) -> None:
    assert LabelScheme.make({name: value for value, name in enumerate(labels, start=1)}).side_pairs() == pairs


def test_value_type_holds_every_value() -> None:
    assert LabelScheme.make({"a": 255}).value_type() is np.uint8
    assert LabelScheme.make({"a": 1, "b": 256}).value_type() is np.uint16


def test_tolerances_of_a_data_set() -> None:
    labels = {"background": 0, "organ": 1, "tumour": 2}
    assert LabelScheme.make(labels).tolerance_mm == {}
    assert LabelScheme.make(labels, tolerance_mm=2).tolerance_mm == {"organ": 2.0, "tumour": 2.0}
    some = LabelScheme.make(labels, tolerance_mm={"tumour": 1.5})
    assert some.tolerance_mm == {"tumour": 1.5}
    assert LabelScheme.parse(json.loads(some.to_json())) == some
    assert "tolerance_mm" not in LabelScheme.make(labels).to_json()
    for wrong in ({"tumor": 1}, {"tumour": -1}, {"tumour": "1"}, float("nan"), True):
        with pytest.raises(DatasetError, match="tolerance"):
            LabelScheme.make(labels, tolerance_mm=wrong)
