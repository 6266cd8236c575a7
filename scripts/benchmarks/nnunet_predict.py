"""nnU-Net's command ``nnUNetv2_predict_from_modelfolder``, which takes any trainer's name for ``nnUNetTrainer``.

The given models were trained by a class of another name that builds the same network. nnU-Net does not have it, and its
search for it imports every network that it knows, which costs seconds and packages that inference does not need.

Usage: as the command's, in nnU-Net's Python: python nnunet_predict.py -i IMAGES -o MASKS -m MODEL -f 0 -device cpu
"""

from nnunetv2.inference import predict_from_raw_data
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def name_trainer() -> None:
    """Make nnU-Net's predictor take ``nnUNetTrainer`` whatever a checkpoint says."""
    predict_from_raw_data.recursive_find_trainer_class_by_name = lambda name: nnUNetTrainer


if __name__ == "__main__":
    name_trainer()
    predict_from_raw_data.predict_entry_point_modelfolder()
