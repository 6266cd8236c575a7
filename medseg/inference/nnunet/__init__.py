"""nnU-Net's models: importing them, and exporting ours for it."""

from medseg.inference.nnunet.export import explain_differences, explain_use, export_nnunet
from medseg.inference.nnunet.export_reading import compare_checkpoints
from medseg.inference.nnunet.find import ModelFolder, find_models, open_source
from medseg.inference.nnunet.importing import Verdict, examine_model, import_model
from medseg.inference.nnunet.weights import pair_names, translate_weights

__all__ = [
    "ModelFolder",
    "Verdict",
    "compare_checkpoints",
    "examine_model",
    "explain_differences",
    "explain_use",
    "export_nnunet",
    "find_models",
    "import_model",
    "open_source",
    "pair_names",
    "translate_weights",
]
