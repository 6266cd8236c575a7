"""Lets the tests import what ``scripts/make_examples.py`` imports."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
