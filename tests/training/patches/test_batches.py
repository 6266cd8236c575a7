"""``medseg.batches`` gives what the trainer gives to the network."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import medseg
from medseg.augmentation import DEFAULT_AUGMENTATIONS, Augmentation
from medseg.core.errors import PlanError
from medseg.preprocessing import write_index
from medseg.training.runs import run_fold
from tests.training.patches.workspaces import make_workspace

NAME = {3: "3d_fullres", 2: "2d"}


def watch(seen: list[tuple[Tensor, Tensor]]) -> Augmentation:
    """The last of the augmentations: it changes nothing and keeps what passes."""

    def apply(images: Tensor, labels: Tensor, parameters: Sequence[Any]) -> tuple[Tensor, Tensor]:
        seen.append((images.clone(), labels.clone()))
        return images, labels

    return Augmentation("watch", lambda rng, scene: None, apply)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"sampling": "lesion", "accumulation": "2", "foreground_share": "0.9"}])
def test_they_are_the_trainers(tmp_path: Path, dimensions: int, settings: dict[str, str]) -> None:
    space, dataset = make_workspace(tmp_path, dimensions=dimensions)
    seen: list[tuple[Tensor, Tensor]] = []
    run_fold(
        space, dataset, NAME[dimensions], 0, device="cpu", settings=settings,
        augmentations=[*DEFAULT_AUGMENTATIONS, watch(seen)],
    )  # fmt: skip
    steps = 6 * int(settings.get("accumulation", 1))
    assert len(seen) == steps
    given = medseg.batches(space.root, NAME[dimensions], 0, device="cpu", settings=settings)
    for (images, labels), batch in zip(seen, given, strict=False):
        assert torch.equal(batch.images, images)
        assert torch.equal(batch.labels, labels)
        assert set(batch.cases) <= {"s0", "s1", "s2"}
        assert len(batch.cases) == len(images) == 2
        assert images.ndim == dimensions + 2


def test_the_seed_can_be_another(tmp_path: Path) -> None:
    space, _ = make_workspace(tmp_path)

    def draw(seed: int | None) -> list[float]:
        found = itertools.islice(medseg.batches(space.root, "3d_fullres", 0, seed, device="cpu"), 3)
        return [images.sum().item() for images, _, _ in found]

    assert draw(None) == draw(3)  # the plan's
    assert draw(4) == draw(4) != draw(3)


def test_what_cannot_be_is_said_at_once(tmp_path: Path) -> None:
    space, _ = make_workspace(tmp_path)
    with pytest.raises(PlanError, match="no configuration"):
        medseg.batches(space.root, "4d", 0)
    with pytest.raises(PlanError, match="there is no fold"):
        medseg.batches(space.root, "3d_fullres", 7)
    with pytest.raises(PlanError, match="sampling"):
        medseg.batches(space.root, "3d_fullres", 0, settings={"sampling": "random"})
    write_index(space.prepared("3d_fullres"), ["s0"])
    with pytest.raises(PlanError, match="no training case"):
        medseg.batches(space.root, "3d_fullres", 1)


def test_a_damaged_case_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    space, _ = make_workspace(tmp_path)
    (space.prepared("3d_fullres") / "s1.b2nd").write_bytes(b"")
    found = list(itertools.islice(medseg.batches(space.root, "3d_fullres", 0, device="cpu"), 6))
    assert all(set(batch.cases) <= {"s0", "s2"} for batch in found)
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("medseg.training.patches")]
    assert line.startswith(f"s1, {space.prepared('3d_fullres') / 's1.b2nd'}, damaged, ")
