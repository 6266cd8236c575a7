"""DICOM: series from a scanner's folder, and masks and reports as a hospital's archive wants them."""
