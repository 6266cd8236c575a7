"""Which of nnU-Net's trainers train the plan's own network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from medseg.core.errors import ModelError

# Trainers of nnU-Net 2.8.1 that change losses, data or schedules and keep the network that the plan describes.
PLAN_NETWORK = re.compile(
    r"""nnUNetTrainer(
      | _\d+epochs?(_NoMirroring)? | Benchmark_5epochs(_noDataLoading)?
      | DA5(ord0|Segord0|_10epochs)? | NoDA | _DASegOrd0(_NoMirroring)? | _noDummy2DDA
      | NoMirroring | _onlyMirror01(_DA5|_1500ep|_DASegOrd0)?
      | _warmup | CosAnneal | Adan(1en3|3en4|1en1|CosAnneal)? | (Vanilla)?Adam(1en3|3en4)?
      | DiceLoss | DiceCELoss_noSmooth | Topk10Loss(LS01)? | DiceTopK10Loss | CELoss(_5epochs)?
      | NoDeepSupervision | _probabilisticOversampling(_033|_010)?
    )? | nnUNet_Trainer_BS8""",
    re.VERBOSE,
)
# The plan's network with batch norms in place of its instance norms.
BATCH_NORM = frozenset({"nnUNetTrainerBN"})
# Trainers, nnU-Net's own and well-known ones of others, whose network is not the plan's.
OTHER_NETWORKS = {
    "*Primus*": "a Primus transformer",
    "*UMamba*": "U-Mamba",
    "*SegMamba*": "SegMamba",
    "*MedNeXt*": "MedNeXt",
    "*STUNet*": "STU-Net",
    "*SwinUNETR*": "Swin UNETR",
    "*UNETR*": "UNETR",
    "*SegResNet*": "SegResNet",
}


@dataclass(frozen=True)
class Trainer:
    """What a trainer's name says about its network.

    Args:
        name: of its class.
        is_known: whether the table says that it trains the plan's network; else every weight must fit exactly.
        batch_norm: whether its network has batch norms whatever the plan says.
    """

    name: str
    is_known: bool
    batch_norm: bool = False


def judge_trainer(name: str) -> Trainer:
    """What the table says about a trainer; raises ModelError for one that builds another network."""
    for pattern, network in OTHER_NETWORKS.items():
        if fnmatchcase(name, pattern):
            raise ModelError(
                f"{name} trains {network}, not a network that medseg has",
                code="other_network",
                remedy="Predict with nnU-Net, or train the plan's own network",
            )
    batch_norm = name in BATCH_NORM
    return Trainer(name, batch_norm or PLAN_NETWORK.fullmatch(name) is not None, batch_norm)
