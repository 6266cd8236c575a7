"""Small network plans for tests."""

from medseg.core.plan import NetworkPlan

SHAPES: dict[str, tuple[NetworkPlan, tuple[int, ...]]] = {
    # Name to plan and an input size that its strides divide.
    "3d": (
        NetworkPlan(
            features=(4, 8, 12),
            strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
            kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
            convolutions=(1, 2, 2),
            decoder_convolutions=(1, 2),
        ),
        (4, 8, 8),
    ),
    "2d": (
        NetworkPlan(
            features=(4, 8, 12),
            strides=((1, 1), (2, 2), (2, 2)),
            kernels=((3, 3), (3, 3), (3, 3)),
            convolutions=(2, 2, 1),
            decoder_convolutions=(2, 1),
        ),
        (8, 12),
    ),
}
