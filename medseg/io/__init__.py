"""Images, masks and data sets on disk: finding, reading, checking and writing them."""

from medseg.io.inputs import find_inputs
from medseg.io.layouts import open_dataset
from medseg.io.masks import find_masks, read_segmentation
from medseg.io.naming import find_labels, parse_labels
from medseg.io.objects import volume_from_nibabel, volume_from_simpleitk
from medseg.io.read import read_image, read_volume
from medseg.io.results_input import find_images, find_patients, settle_labels
from medseg.io.write import write_segmentation, write_volume

__all__ = [
    "find_images",
    "find_inputs",
    "find_labels",
    "find_masks",
    "find_patients",
    "open_dataset",
    "parse_labels",
    "read_image",
    "read_segmentation",
    "read_volume",
    "settle_labels",
    "volume_from_nibabel",
    "volume_from_simpleitk",
    "write_segmentation",
    "write_volume",
]
