"""DICOM: series from a scanner's folder, and masks and reports as a hospital's archive wants them."""

import logging

# What these libraries remark about values in files holds the values, patients' names among them.
for _name in ("pydicom", "highdicom"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
