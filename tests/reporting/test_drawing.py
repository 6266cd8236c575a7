"""Key slices show the right slice, in the right proportions, with contours where the mask's edges are."""

import io

import numpy as np
import pytest
from PIL import Image

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.reporting import Figure, Line, draw_case
from medseg.reporting.palette import ON_IMAGE
from medseg.reporting.picture import choose_bar_length
from medseg.reporting.windows import choose_window, to_grey
from tests.reporting.examples import LABELS, make_scan


def pixels(figure: Figure) -> np.ndarray:
    picture = Image.open(io.BytesIO(figure.image))
    assert picture.size == (figure.width, figure.height)
    return np.asarray(picture.convert("RGB")).astype(int)


def near(colours: np.ndarray, wanted: str, tolerance: int = 60) -> np.ndarray:
    target = np.array([int(wanted[n : n + 2], 16) for n in (1, 3, 5)])
    return np.abs(colours - target).max(axis=-1) < tolerance


def test_each_label_is_shown_where_it_is_largest() -> None:
    volume, mask = make_scan()
    figures = draw_case(volume, mask, None, LABELS, case="a", patient="p", day=3)
    assert (figures.case, figures.patient, figures.day, figures.has_reference) == ("a", "p", 3, False)
    keys = [figure for figure in figures.slices if figure.is_key]
    assert [figure.title for figure in keys] == ["liver", "tumour"]
    assert "slice 5 of 12" in keys[0].caption
    assert "slice 8 of 12" in keys[1].caption
    assert "−160 to 240 HU" in keys[0].caption
    assert {figure.title for figure in figures.slices if not figure.is_key} >= {"Coronal", "Sagittal"}


def test_a_line_chooses_the_slice_and_is_drawn() -> None:
    volume, mask = make_scan()
    line = Line("tumour", 2, 6, (11.5, 13.5, 6.0), (14.5, 16.5, 6.0), "8.5 mm")
    plain = draw_case(volume, mask, None, LABELS, case="a").slices[1]
    drawn = draw_case(volume, mask, None, LABELS, case="a", lines=[line]).slices[1]
    assert "longest diameter, slice 7 of 12" in drawn.caption
    assert near(pixels(drawn), "#f0e442").sum() > 100 > near(pixels(plain), "#f0e442").sum()


def test_a_line_on_a_slice_without_the_label_is_left_out() -> None:
    volume, mask = make_scan()
    line = Line("tumour", 2, 1, (1, 1, 1), (5, 5, 1))
    assert "slice 8 of 12" in draw_case(volume, mask, None, LABELS, case="a", lines=[line]).slices[1].caption


def test_contours_lie_on_the_edges_of_the_mask() -> None:
    volume, mask = make_scan()
    dark = Volume(np.full_like(volume.array, -1000), volume.geometry, volume.channels)
    figure = draw_case(dark, mask, None, LABELS, case="a").slices[0]
    rows, columns = np.nonzero(near(pixels(figure), ON_IMAGE[0], 90))
    # Slice 4 holds the liver in i 6..25, j 8..27; the whole slice of 40 x 36 voxels of 2 mm is shown, LPS as it is.
    scale = figure.width / 40
    expected = np.array([6, 26, 8, 28]) * scale
    found = np.array([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1])
    assert np.abs(found - expected).max() <= 3


def test_pixels_are_square_in_millimetres() -> None:
    volume, mask = make_scan(spacing_mm=(1.0, 2.0, 7.0))
    by_title = {figure.title: figure for figure in draw_case(volume, mask, None, LABELS, case="a").slices}
    coronal, sagittal = by_title["Coronal"], by_title["Sagittal"]
    assert coronal.width / coronal.height == pytest.approx(40 * 1.0 / (12 * 7.0), rel=0.02)
    assert sagittal.width / sagittal.height == pytest.approx(36 * 2.0 / (12 * 7.0), rel=0.02)


def test_the_reference_is_shown_where_the_prediction_misses_a_label() -> None:
    volume, reference = make_scan()
    missed = Segmentation(np.where(reference.array == 2, 1, reference.array).astype(np.uint8), reference.geometry)
    figures = draw_case(volume, missed, reference, LABELS, case="a")
    assert figures.has_reference
    assert "missed by the prediction, slice 8 of 12" in figures.slices[1].caption


def test_an_empty_mask_shows_the_middle_and_says_so() -> None:
    volume, mask = make_scan()
    empty = Segmentation(np.zeros_like(mask.array), mask.geometry)
    figures = draw_case(volume, empty, None, LABELS, case="a")
    assert "No label" in figures.note
    assert [figure.title for figure in figures.slices] == ["Axial", "Coronal", "Sagittal"]
    assert "slice 7 of 12" in figures.slices[0].caption


def test_without_a_scan_the_contours_stand_on_black() -> None:
    _, mask = make_scan()
    colours = pixels(draw_case(None, mask, None, LABELS, case="a").slices[0])
    assert np.median(colours) == 0
    assert near(colours, ON_IMAGE[0], 90).any()


def test_many_labels_are_cut_short_with_a_note() -> None:
    scheme = LabelScheme.make({f"label {n}": n for n in range(1, 10)})
    array = np.zeros((20, 20, 10), np.uint8)
    for n in range(1, 10):
        array[2:6, 2:6, n] = n
    figures = draw_case(
        None, Segmentation(array, Geometry.from_spacing(array.shape, (1, 1, 1))), None, scheme, case="a"
    )
    assert sum(figure.is_key for figure in figures.slices) == 6
    assert "6 of 9" in figures.note


def test_regions_and_a_picture_are_drawn() -> None:
    scheme = LabelScheme.make({"whole": [1, 2], "core": [2]})
    array = np.zeros((30, 50, 1), np.uint8)
    array[5:20, 10:30] = 1
    array[8:12, 15:20] = 2
    geometry = Geometry.from_spacing(array.shape, (1, 1, 1))
    volume = Volume(np.linspace(0, 255, array.size).reshape(1, 30, 50, 1), geometry, ("photo",))
    figures = draw_case(volume, Segmentation(array, geometry), None, scheme, case="a")
    assert [figure.title for figure in figures.slices] == ["whole", "core"]
    assert figures.slices[0].width > figures.slices[0].height


def test_another_grid_is_refused() -> None:
    volume, mask = make_scan()
    moved = Segmentation(mask.array, volume.geometry.crop((1, 0, 0), (41, 36, 12)))
    with pytest.raises(GeometryError, match="not on the prediction's grid"):
        draw_case(volume, moved, None, LABELS, case="a")


def test_the_same_pictures_twice() -> None:
    volume, mask = make_scan()
    assert draw_case(volume, mask, mask, LABELS, case="a") == draw_case(volume, mask, mask, LABELS, case="a")


def test_windows_follow_the_modality() -> None:
    volume, mask = make_scan()
    assert (choose_window(volume, None).low, choose_window(volume, None).high) == (-160, 240)
    lung = Volume(np.full_like(volume.array, -850), volume.geometry, ("CT",))
    assert "lung" in choose_window(lung, (slice(0, 9),) * 3).text
    ramp = np.arange(mask.array.size, dtype=np.float32).reshape(volume.array.shape)
    window = choose_window(Volume(ramp, volume.geometry, ("T1",)), None)
    assert (window.low, window.high) == pytest.approx(np.percentile(ramp, (1, 99)))
    flat = choose_window(Volume(np.zeros_like(ramp), volume.geometry, ("T1",)), None)
    assert to_grey(np.array([[0.0, np.nan, np.inf]]), flat).tolist() == [[0, 0, 255]]


@pytest.mark.parametrize(("width_mm", "bar_mm"), [(400, 100), (399, 50), (80, 20), (4.1, 1), (0.9, 0.2)])
def test_scale_bars_are_round_and_at_most_a_quarter(width_mm: float, bar_mm: float) -> None:
    assert choose_bar_length(width_mm) == pytest.approx(bar_mm)
