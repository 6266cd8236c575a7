"""Whether a scan looks like those that a model was trained with."""

from medseg.inference.familiarity.finding import find_unfamiliar
from medseg.inference.familiarity.training_scans import describe_familiar, familiar_from_nnunet

__all__ = ["describe_familiar", "familiar_from_nnunet", "find_unfamiliar"]
