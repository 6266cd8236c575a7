"""The numbers by which nnU-Net's planners differ from one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medseg.core.plan import NetworkPlan
from medseg.planning.topology import PLAIN, Topology, make_network

# Source of everything in this file: nnU-Net 2.8.1, ``ExperimentPlanner`` and ``nnUNetPlannerResEncM``, ``L``, ``XL``;
# described in Isensee et al., Nature Methods 18 (2021), and Isensee et al., "nnU-Net Revisited", MICCAI 2024.
BASE_FEATURES = 32
MOST_FEATURES = {2: 512, 3: 320}
REFERENCE_BATCH = {2: 12, 3: 2}  # the batch that the reference elements stand for
SMALLEST_BATCH = 2
RESIDUAL_ENCODER = (1, 3, 4, 6)
RESIDUAL_DECODER = (1,)


@dataclass(frozen=True)
class Rules:
    """One of nnU-Net's planners. Numbers by dimensions are for 2D and 3D networks.

    Args:
        planner: its name in nnU-Net.
        plans_name: what it calls its plans.
        network: our entry of the table of networks.
        encoder, decoder: convolutions or blocks of the stages from the finest; the last one holds for all coarser ones.
        reference_elements: feature map elements of one patch that fill ``reference_gb`` with the reference batch.
        reference_gb: GB; the memory target where the user gives none.
        fewest_patches: how many patches must fit before the patch shrinks no further.
        dataset_share: the share of the data set's voxels that a step sees at most.
    """

    planner: str
    plans_name: str
    network: str
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    reference_elements: Mapping[int, int]
    reference_gb: float
    fewest_patches: Mapping[int, int]
    dataset_share: float

    def build(self, topology: Topology) -> NetworkPlan:
        """The planner's network with that pooling."""
        return make_network(
            topology,
            BASE_FEATURES,
            MOST_FEATURES[len(topology.patch)],
            name=self.network,
            encoder=self.encoder,
            decoder=self.decoder,
        )

    def fits(self, elements: int, dimensions: int, memory_gb: float) -> bool:
        """Whether the fewest patches, of ``elements`` feature map elements each, fit ``memory_gb``."""
        reference = self.reference_elements[dimensions] * (memory_gb / self.reference_gb)
        return elements * self.fewest_patches[dimensions] <= reference * REFERENCE_BATCH[dimensions]

    def count_patches(self, elements: int, dimensions: int, memory_gb: float) -> int:
        """How many patches of ``elements`` feature map elements each fill ``memory_gb``."""
        reference = self.reference_elements[dimensions] * (memory_gb / self.reference_gb)
        return round(reference / elements * REFERENCE_BATCH[dimensions])


def _residual(size: str, memory_gb: float, elements_2d: int, elements_3d: int) -> Rules:
    """A planner of residual encoders: in 2D it shrinks the patch until 12 fit, and a step may see all of the data."""
    return Rules(
        planner=f"nnUNetPlannerResEnc{size}",
        plans_name=f"nnUNetResEncUNet{size}Plans",
        network="residual_unet",
        encoder=RESIDUAL_ENCODER,
        decoder=RESIDUAL_DECODER,
        reference_elements={2: elements_2d, 3: elements_3d},
        reference_gb=memory_gb,
        fewest_patches=REFERENCE_BATCH,
        dataset_share=1.0,
    )


RULES = {
    "nnunet": Rules(
        planner="ExperimentPlanner",
        plans_name="nnUNetPlans",
        network="plain_unet",
        encoder=PLAIN,
        decoder=PLAIN,
        reference_elements={2: 85_000_000, 3: 560_000_000},
        reference_gb=8.0,
        fewest_patches={2: SMALLEST_BATCH, 3: SMALLEST_BATCH},
        dataset_share=0.05,
    ),
    "resenc-m": _residual("M", 8.0, 135_000_000, 680_000_000),
    "resenc-l": _residual("L", 24.0, 380_000_000, 2_100_000_000),
    "resenc-xl": _residual("XL", 40.0, 560_000_000, 3_600_000_000),
}
