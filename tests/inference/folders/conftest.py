"""What the tests of whole folders share."""

import pytest

from medseg.inference import Predictor
from tests.inference.examples import write_model


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """An untrained model of one network."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, folds=(0,))
    return Predictor.load(folder, device="cpu", mirroring=False)
