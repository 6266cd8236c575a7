"""Weights of the decoder's stages, and what each stage is compared with."""

import pytest
import torch

from medseg.training.losses import DetailedLoss, supervise_depths, weigh_depths


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [1.0]), (2, [1.0, 0.0]), (3, [2 / 3, 1 / 3, 0]), (4, [4 / 7, 2 / 7, 1 / 7, 0])]
)
def test_stages_count_half_as_much_from_fine_to_coarse(count: int, expected: list[float]) -> None:
    assert weigh_depths(count) == pytest.approx(expected)


def test_supervision_is_the_weighted_sum_on_thinned_targets() -> None:
    seen: list[torch.Tensor] = []

    def loss(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        seen.append(targets)
        assert mask is not None
        assert mask.shape[2:] == targets.shape[2:] == logits.shape[2:]
        return logits.mean()

    targets = torch.arange(4 * 8 * 8).reshape(1, 1, 4, 8, 8).float()
    stages = [torch.full((1, 1, 4, 8, 8), 3.0), torch.full((1, 1, 4, 4, 4), 6.0), torch.full((1, 1, 2, 2, 2), 99.0)]
    total = supervise_depths(loss, stages, targets, torch.ones_like(targets))
    assert float(total) == pytest.approx(2 / 3 * 3 + 1 / 3 * 6)
    assert len(seen) == 2  # the coarsest does not count
    assert torch.equal(seen[0], targets)
    assert torch.equal(seen[1], targets[..., 1::2, 1::2])


def test_only_the_finest_stage_has_a_term_for_details() -> None:
    def count_voxels(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return logits.sum()

    def fail(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        assert logits.shape == targets.shape == (1, 1, 4, 4)
        return logits.sum() * 100

    stages = [torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)]
    total = supervise_depths(DetailedLoss(fail, count_voxels), stages, torch.ones(1, 1, 4, 4), None)
    assert float(total) == pytest.approx(2 / 3 * 1600 + 1 / 3 * 4)
