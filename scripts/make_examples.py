#!/usr/bin/env python3
"""Write the example data sets: ``python scripts/make_examples.py [--output data_examples]``.

The same bytes come out every time. What the data sets are stands in ``data_examples/README.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from example_sets.cells_2d import write_cells_2d
from example_sets.phantom_ct import write_phantom_ct


def main() -> None:
    """Write both data sets below the folder that the user names."""
    parser = argparse.ArgumentParser(description="Write the example data sets.")
    default = Path(__file__).resolve().parent.parent / "data_examples"
    parser.add_argument("--output", type=Path, default=default, help="the folder to write to (default: data_examples)")
    output: Path = parser.parse_args().output
    for name, write in (("phantom_ct", write_phantom_ct), ("cells_2d", write_cells_2d)):
        write(output / name)
        paths = [path for path in (output / name).rglob("*") if path.is_file()]
        print(f"{output / name}: {len(paths)} files, {sum(path.stat().st_size for path in paths) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
