"""nibabel, in a command without pydicom, which nibabel loads with all its decoders for DICOM inside NIfTI headers.

Modules of ours import nibabel from here, so that the first import is this one.
"""

from medseg.compute.lean_imports import import_without

with import_without("pydicom"):
    import nibabel as nib
    from nibabel.spatialimages import HeaderDataError

__all__ = ["HeaderDataError", "nib"]
