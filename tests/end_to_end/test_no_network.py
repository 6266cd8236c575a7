"""Nothing connects to a network at run time: every attempt of a socket to leave the process fails here, and is told."""

import subprocess
import sys
from pathlib import Path

import pytest

# Runs before medseg is imported, in a process of its own, whose children inherit it through PYTHONPATH's sitecustomize.
# A name at this machine's own address is let through: urllib3, where it is installed (pydicom loads it), asks for one
# while it is imported, to learn whether there is IPv6, and lets it go.
BLOCK = """
import pathlib, socket, sys

def refuse(kind):
    def blocked(self, address=None, *rest):
        if getattr(self, "family", None) == socket.AF_UNIX:
            return original[kind](self, address, *rest)
        if kind == "bind" and tuple(address[:2]) == ("::1", 0):
            return original[kind](self, address, *rest)
        with open({log!r}, "a") as stream:
            stream.write(f"{{kind}} {{address}}\\n")
        raise OSError("the network is blocked")
    return blocked

original = {{kind: getattr(socket.socket, kind) for kind in ("connect", "connect_ex", "sendto", "bind")}}
for kind in original:
    setattr(socket.socket, kind, refuse(kind))
def look_up(host, *rest, **options):
    with open({log!r}, "a") as stream:
        stream.write(f"getaddrinfo {{host}}\\n")
    raise socket.gaierror("the network is blocked")
socket.getaddrinfo = look_up
"""


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of every attempt; Python's start-up hook puts the block before anything else."""
    log, folder = tmp_path / "attempts.txt", tmp_path / "start"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCK.format(log=str(log)))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return log


def test_the_block_blocks(blocked: Path) -> None:
    code = "import urllib.request as u\ntry:\n u.urlopen('http://127.0.0.1:9')\nexcept OSError as e:\n print('no', e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the network is blocked" in done.stdout
    assert "127.0.0.1" in blocked.read_text()


@pytest.mark.slow
def test_a_run_from_scans_to_report_connects_to_nothing(blocked: Path, tmp_path: Path) -> None:
    from medseg.tools.demo import find_examples

    code = "from medseg.cli import main; main()"
    words = ["run", str(find_examples()), "--workspace", str(tmp_path / "w"), "--epochs", "1", "--folds", "0"]
    words += ["--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "w" / "report.html").is_file()
    assert not blocked.exists(), blocked.read_text()
