"""Settings of every test."""

import os

from hypothesis import HealthCheck, settings

# A busy machine is no failure, so nothing is timed; CI draws the same examples every time.
settings.register_profile(
    "medseg", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("medseg")
