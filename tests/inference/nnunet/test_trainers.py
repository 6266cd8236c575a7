"""The table of trainers."""

import pytest

from medseg.core.errors import ModelError
from medseg.inference.nnunet.trainers import judge_trainer


@pytest.mark.parametrize(
    "name",
    [
        *("nnUNetTrainer", "nnUNetTrainer_250epochs", "nnUNetTrainer_1epoch", "nnUNetTrainer_4000epochs_NoMirroring"),
        *("nnUNetTrainerNoMirroring", "nnUNetTrainer_DASegOrd0_NoMirroring", "nnUNetTrainer_onlyMirror01_1500ep"),
        *("nnUNetTrainerDA5ord0", "nnUNetTrainerVanillaAdam3en4", "nnUNetTrainerAdan1en1", "nnUNet_Trainer_BS8"),
        *("nnUNetTrainerDiceCELoss_noSmooth", "nnUNetTrainerTopk10LossLS01", "nnUNetTrainerNoDeepSupervision"),
        *("nnUNetTrainer_probabilisticOversampling_033", "nnUNetTrainerBenchmark_5epochs_noDataLoading"),
    ],
)
def test_trainers_of_the_plans_network_are_known(name: str) -> None:
    trainer = judge_trainer(name)
    assert trainer.is_known
    assert not trainer.batch_norm


def test_batch_norm_is_known_by_name() -> None:
    assert judge_trainer("nnUNetTrainerBN").batch_norm


@pytest.mark.parametrize("name", ["nnUNet_Primus_M_Trainer", "_Primus_S_96_BS1", "nnUNetTrainerUMambaBot"])
def test_other_networks_are_refused_by_name(name: str) -> None:
    with pytest.raises(ModelError, match=name):
        judge_trainer(name)


@pytest.mark.parametrize("name", ["MyTrainer", "nnUNetTrainer_short", "nnUNetTrainerX", "XnnUNetTrainer"])
def test_any_other_trainer_is_unknown(name: str) -> None:
    assert not judge_trainer(name).is_known
