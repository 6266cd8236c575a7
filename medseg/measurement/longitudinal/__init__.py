"""A patient's masks over time: lesions that keep their ids, what changed, and whether by more than the error."""

from medseg.measurement.longitudinal.folders import measure_scans, measure_timeline
from medseg.measurement.longitudinal.timeline import Scan, Timeline, read_timeline

__all__ = ["Scan", "Timeline", "measure_scans", "measure_timeline", "read_timeline"]
