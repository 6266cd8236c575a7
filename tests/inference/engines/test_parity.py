"""The numbers that say how far two engines lie apart."""

import torch
from torch import Tensor

from medseg.inference.engines import compare_engines


def test_an_engine_agrees_with_itself() -> None:
    windows = torch.randn(3, 2, 4, 5, 6)
    parity = compare_engines(lambda x: x, lambda x: x.clone(), windows)
    assert (parity.windows, parity.largest_difference, parity.same_labels, parity.dice) == (3, 0.0, 1.0, 1.0)
    assert parity.logit_range == float(windows.max()) - float(windows.min())


def test_differences_are_counted() -> None:
    # Four voxels of classes 0, 1, 1, 2; the other engine says 0, 1, 2, 0.
    first = torch.eye(3)[[0, 1, 1, 2]].T.reshape(1, 3, 1, 1, 4) * 2
    second = torch.eye(3)[[0, 1, 2, 0]].T.reshape(1, 3, 1, 1, 4) * 2
    parity = compare_engines(lambda _: first, lambda _: second, [torch.zeros(1, 1, 1, 4)])
    assert parity.largest_difference == 2.0
    assert parity.same_labels == 0.5
    assert parity.dice == 2 * 1 / (3 + 2)


def test_regions_are_compared_by_sign() -> None:
    first = torch.tensor([[1.0, -1.0], [3.0, -2.0]]).reshape(1, 2, 1, 1, 2)
    second = torch.tensor([[2.0, 1.0], [-1.0, -2.0]]).reshape(1, 2, 1, 1, 2)
    parity = compare_engines(lambda _: first, lambda _: second, [torch.zeros(1, 1, 1, 2)], softmax=False)
    assert parity.same_labels == 0.5
    assert parity.dice == 2 * 1 / (2 + 2)


def test_without_any_foreground_there_is_no_dice() -> None:
    def background(windows: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(windows), torch.zeros_like(windows)], 1)

    assert compare_engines(background, background, torch.zeros(1, 1, 2, 2, 2)).dice is None
