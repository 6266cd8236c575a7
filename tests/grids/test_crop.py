"""The box of what is not zero."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medseg.grids import find_box


@given(st.tuples(*[st.integers(1, 7)] * 3), st.integers(0, 10_000), st.sampled_from([bool, np.int16, np.float32]))
def test_box_is_the_range_of_the_indices(shape: tuple[int, int, int], seed: int, kind: type) -> None:
    mask = (np.random.default_rng(seed).random(shape) < 0.1).astype(kind)
    start, stop = find_box(mask.transpose(2, 0, 1))
    where = np.argwhere(mask.transpose(2, 0, 1))
    if len(where):
        assert start == tuple(where.min(axis=0))
        assert stop == tuple(where.max(axis=0) + 1)
    else:
        assert (start, stop) == ((0, 0, 0), mask.transpose(2, 0, 1).shape)
