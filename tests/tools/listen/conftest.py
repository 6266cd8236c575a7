"""What the tests of listening share."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("pynetdicom", reason="the extra pacs is not installed")
pytest.importorskip("dicomweb_client", reason="the extra pacs is not installed")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of one network and one channel, which finds something of each label."""
    from tests.inference.examples import write_model

    folder = tmp_path_factory.mktemp("model")
    write_model(folder, folds=(2,))
    return folder


@pytest.fixture
def collect_sockets() -> Iterator[None]:
    """pynetdicom leaves the sockets of connections that were cut or refused to the garbage collector."""
    yield
    gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the collector says about such a socket is none of ours."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(
                pytest.mark.filterwarnings(
                    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
                )
            )


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """The networks here are so small that threads would mostly wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
