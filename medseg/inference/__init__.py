"""Masks from scans: sliding window, mirroring, averaging of folds, the way back to the scan's grid."""

from medseg.inference.engines import as_forward, average_forwards, make_forward
from medseg.inference.members import LoadedMember, load_member
from medseg.inference.model_folder import Model, finish_model, load_networks, open_model, weights_path, write_weights
from medseg.inference.predictor import Prediction, Predictor
from medseg.inference.segment import PreparedScan, Window, predict_case, prepare_scan, segment_scan
from medseg.inference.sliding_window import place_windows
from medseg.inference.streaming import predict_logits, stream_logits

__all__ = [
    "LoadedMember",
    "Model",
    "Prediction",
    "Predictor",
    "PreparedScan",
    "Window",
    "as_forward",
    "average_forwards",
    "finish_model",
    "load_member",
    "load_networks",
    "make_forward",
    "open_model",
    "place_windows",
    "predict_case",
    "predict_logits",
    "prepare_scan",
    "segment_scan",
    "stream_logits",
    "weights_path",
    "write_weights",
]
