"""Random changes of training patches, drawn per sample and applied in batches on the device."""

from medseg.augmentation.base import Augmentation, Scene
from medseg.augmentation.spatial import enlarge_patch
from medseg.augmentation.table import AUGMENTATIONS, DEFAULT_AUGMENTATIONS, augment_batch

__all__ = ["AUGMENTATIONS", "DEFAULT_AUGMENTATIONS", "Augmentation", "Scene", "augment_batch", "enlarge_patch"]
