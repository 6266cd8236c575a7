"""Where work runs: threads and devices."""

from medseg.compute.devices import choose_device, count_cores
from medseg.compute.threads import map_cases

__all__ = ["choose_device", "count_cores", "map_cases"]
