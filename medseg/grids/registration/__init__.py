"""Where a scan lies in the space of another one of the same patient."""

from medseg.grids.registration.search import Kind, Registration, register_scans
from medseg.grids.registration.transforms import read_transform, write_transform

__all__ = ["Kind", "Registration", "read_transform", "register_scans", "write_transform"]
