"""Masks from scans: sliding window, mirroring, averaging of folds, the way back to the scan's grid."""

from medseg.inference.model_folder import Model, finish_model, load_networks, open_model, weights_path, write_weights
from medseg.inference.networks import as_forward, average_forwards
from medseg.inference.predictor import Prediction, Predictor, Window, predict_case
from medseg.inference.sliding_window import place_windows, predict_logits

__all__ = [
    "Model",
    "Prediction",
    "Predictor",
    "Window",
    "as_forward",
    "average_forwards",
    "finish_model",
    "load_networks",
    "open_model",
    "place_windows",
    "predict_case",
    "predict_logits",
    "weights_path",
    "write_weights",
]
