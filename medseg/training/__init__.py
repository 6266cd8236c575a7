"""Training: sampling, loader, losses, schedule, trainer, checkpoints, and choosing what becomes the model."""

from medseg.training.checkpoint import load_checkpoint
from medseg.training.choosing import Candidate, Choice, choose_candidate, rate_candidate
from medseg.training.folds import train_fold
from medseg.training.job import TrainedFold
from medseg.training.losses import LOSSES, Loss
from medseg.training.monitor import EpochRecord
from medseg.training.patches.batches import TrainingBatch, batches
from medseg.training.schedule import parse_duration
from medseg.training.validation import Validator, make_validator, validate_case

__all__ = [
    "LOSSES",
    "Candidate",
    "Choice",
    "EpochRecord",
    "Loss",
    "TrainedFold",
    "TrainingBatch",
    "Validator",
    "batches",
    "choose_candidate",
    "load_checkpoint",
    "make_validator",
    "parse_duration",
    "rate_candidate",
    "train_fold",
    "validate_case",
]
