"""medseg: self-configuring segmentation of medical images, from a folder of scans to a tumour report."""

__version__ = "0.1.0"
