"""The cache is the user's own, where the system says it is."""

from pathlib import Path

import pytest

from medseg.compute.user_cache import find_cache


def test_the_cache_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_cache("openvino") == tmp_path / "medseg" / "openvino"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_cache("orders") == tmp_path / ".cache" / "medseg" / "orders"
