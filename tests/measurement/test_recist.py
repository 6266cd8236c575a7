"""RECIST 1.1 arithmetic: targets, sums, categories and the rule that fired."""

from __future__ import annotations

import pytest

from medseg.measurement.recist import (
    Candidate,
    choose_targets,
    classify_response,
    find_lesion_labels,
    list_departures,
)


def classify(*sums, gone=()):
    return [response.category for response in classify_response(sums, [n in gone for n in range(len(sums))])]


@pytest.mark.parametrize(
    ("sums", "categories"),
    [
        ((100, 70), ["PR"]),
        ((100, 70.1), ["SD"]),
        ((100, 119.9), ["SD"]),
        ((100, 120), ["PD"]),
        ((20, 24.9), ["SD"]),  # +24.5 % but less than 5 mm
        ((20, 25), ["PD"]),
        ((100, 60, 72), ["PR", "PD"]),  # from the smallest sum, though 28 % below the first
        ((100, 50, 59), ["PR", "PR"]),
        ((100, 110, 125), ["SD", "PD"]),
        ((100, 90, 100, 108), ["SD", "SD", "PD"]),
    ],
)
def test_category_by_sum(sums, categories):
    assert classify(*sums) == ["baseline", *categories]


def test_disappearance_and_return():
    assert classify(40, 0, 40, gone={1}) == ["baseline", "CR", "PD"]
    # What comes back after a complete response is progression however small it is; so it stays.
    assert classify(40, 0, 4, 3, 0, gone={1, 4}) == ["baseline", "CR", "PD", "PD", "CR"]
    # A baseline whose nodes are all normal is no complete response.
    assert classify(8, 9, gone={0}) == ["baseline", "SD"]
    # Nodes below 10 mm of short axis are normal: complete response with a sum above zero.
    assert classify(30, 16, gone={1}) == ["baseline", "CR"]


def test_rule_names_its_numbers():
    first, second, third = classify_response([100.0, 60.0, 72.0], [False] * 3)
    assert (first.category, first.nadir_mm, first.percent_from_nadir) == ("baseline", None, None)
    assert "-40.0 %" in second.rule
    assert "+20.0 %" in third.rule
    assert "60.0 mm" in third.rule
    assert (third.percent_from_baseline, third.percent_from_nadir) == pytest.approx((-28, 20))


def test_targets_are_the_largest_two_of_an_organ_and_five_in_all():
    lesions = [Candidate(f"{organ}-{n}", organ, size, size / 2)
               for organ in ("liver lesion", "lung lesion", "bone lesion", "skin lesion")
               for n, size in enumerate((40, 30, 20), start=1)]  # fmt: skip
    chosen = choose_targets(lesions)
    assert len(chosen) == 5
    assert [target.longest_mm for target in chosen] == [40, 40, 40, 40, 30]
    assert choose_targets([Candidate("a-1", "a", 9.9, 9), Candidate("a-2", "a", 10, 2)])[0].lesion_id == "a-2"
    assert choose_targets([Candidate("a-1", "a", 9.9, 9)]) == []


def test_thick_slices_ask_for_larger_targets():
    # Twice the distance of slices beyond 5 mm (RECIST 1.1, section 3.1); a node's 15 mm stay.
    assert Candidate("a-1", "a", 10, 5, slice_mm=5.0).is_measurable
    assert not Candidate("a-1", "a", 13.9, 5, slice_mm=7.0).is_measurable
    assert Candidate("a-1", "a", 14, 5, slice_mm=7.0).is_measurable
    assert Candidate("LN-1", "LN", 30, 15, slice_mm=8.0).is_measurable
    (said,) = list_departures([Candidate("a-1", "a", 13, 5, slice_mm=7.0)])
    assert "14 mm" in said


def test_all_lymph_nodes_are_one_organ():
    nodes = [Candidate(f"{place} lymph node-1", f"{place} lymph node", 30, 20) for place in ("left", "right", "hilar")]
    assert len(choose_targets(nodes)) == 2
    assert "lymph nodes" in list_departures(nodes)[0]


def test_lymph_nodes_count_by_their_short_axis():
    node = Candidate("lymph_node-1", "lymph_node", 30, 14.9)
    assert not node.is_measurable
    assert Candidate("lymph_node-1", "lymph_node", 16, 15).size_mm == 15
    assert not Candidate("nodule-1", "nodule", 12, 5).is_node
    assert Candidate("LN-1", "LN", 30, 20).is_node


def test_chosen_targets_may_depart_from_the_rules_but_it_is_said():
    lesions = [Candidate(f"tumour-{n}", "tumour", size, 5) for n, size in enumerate((20, 15, 8), start=1)]
    assert list_departures(lesions[:2]) == []
    said = list_departures(lesions)
    assert len(said) == 2
    assert "tumour-3 measures 8.0 mm" in said[0]


def test_labels_whose_components_are_lesions():
    assert find_lesion_labels(["liver", "liver_tumour"]) == ["liver_tumour"]
    assert find_lesion_labels(["label_1"]) == ["label_1"]
    assert find_lesion_labels(["liver", "spleen"]) == []
