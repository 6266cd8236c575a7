"""Where what is made once for a machine is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def find_cache(kind: str) -> Path:
    """The folder for things of a kind in the user's cache, made or not; RuntimeError for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "medseg" / kind
