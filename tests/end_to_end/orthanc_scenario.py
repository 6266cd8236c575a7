"""Orthanc and ``medseg listen`` side by side, as a program that runs in a network of its own.

    unshare --net python -m tests.end_to_end.orthanc_scenario FOLDER

Debian's Orthanc may listen on every address, whatever it is told; where this runs there is none but loopback. FOLDER
has ``model/``, ``scan/`` (a series) and ``earlier/`` (earlier series of its patient and of another one). Orthanc sends
the series to the listener, which sends SEG and SR back by C-STORE and by STOW-RS; what Orthanc then has goes to
``found/``.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ORTHANC = "/usr/sbin/Orthanc"
DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
HTTP, DICOM, LISTENER = 18042, 14242, 11112
USER, PASSWORD = "tester", "a word that only this test knows"
SECONDS = 240.0
_SET_FLAGS, _UP = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP: netdevice(7)


def raise_loopback() -> None:
    """In a new network namespace the loopback device is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        fcntl.ioctl(device, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))


def ask(path: str, content: bytes | None = None, *, user: str = USER, password: str = PASSWORD) -> Any:
    """Orthanc's answer to GET, or to POST where there is content."""
    request = urllib.request.Request(f"http://127.0.0.1:{HTTP}{path}", data=content)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        body = answer.read()
    return body if path.endswith("/file") else json.loads(body)


def refuses(**options: Any) -> bool:
    """Whether Orthanc asks for another password."""
    try:
        ask("/system", **options)
    except urllib.error.HTTPError as error:
        return error.code == 401
    return False


def wait(is_reached: Callable[[], Any], what: str, *processes: subprocess.Popen[Any]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            if is_reached():
                return
        except OSError:
            pass
        assert time.monotonic() < end, what
        assert all(process.poll() is None for process in processes), f"{what}: a process ended"
        time.sleep(0.2)


def start_orthanc(folder: Path) -> subprocess.Popen[Any]:
    """Orthanc, reachable with a password and for the listener alone."""
    settings = {
        "Name": "test", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "HttpPort": HTTP, "DicomPort": DICOM, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}, "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": False, "DicomAlwaysAllowEcho": False,
        "DicomModalities": {"medseg": ["MEDSEG", "127.0.0.1", LISTENER]},
        "Plugins": [DICOMWEB], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "storage").mkdir()
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("w") as log:
        return subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stdout=log, stderr=log)


def start_listener(folder: Path) -> subprocess.Popen[Any]:
    """``medseg listen`` with a rule per way back."""
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o600)
    web = {"url": f"http://127.0.0.1:{HTTP}/dicom-web", "user": USER, "password_file": "password"}
    rules = {
        "senders": ["ORTHANC"],
        "archives": {"pacs": {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": DICOM}, "web": web},
        "rules": [
            {"name": "by_store", "modality": "CT", "model": "model", "send_to": ["pacs"]},
            {"name": "by_web", "modality": "CT", "model": "model", "send_to": ["web"],
             "earlier": {"archive": "web", "studies": 2}},
        ],
    }  # fmt: skip
    (folder / "rules.json").write_text(json.dumps(rules))
    words = ["--ae-title", "MEDSEG", "--port", str(LISTENER), "--rules", str(folder / "rules.json")]
    words += ["--queue", str(folder / "queue"), "--complete-after", "2s", "--device", "cpu"]
    with (folder / "listen.log").open("w") as log:
        return subprocess.Popen([sys.executable, "-m", "medseg", "listen", *words], stdout=log, stderr=log)


def go_through(folder: Path, orthanc: subprocess.Popen[Any], listener: subprocess.Popen[Any]) -> dict[str, Any]:
    """Send the series there and wait for what comes back."""
    wait(lambda: ask("/system"), "Orthanc answers", orthanc)
    report: dict[str, Any] = {
        "refuses_strangers": refuses(user=""), "refuses_wrong_passwords": refuses(password="another"),
    }  # fmt: skip
    for path in sorted((folder / "earlier").rglob("*.dcm")):
        ask("/instances", path.read_bytes())
    sent = [ask("/instances", path.read_bytes())["ID"] for path in sorted((folder / "scan").iterdir())]
    wait(lambda: "listens on" in (folder / "listen.log").read_text(), "the listener listens", listener)
    ask("/modalities/medseg/store", json.dumps(sent).encode())
    wait(lambda: len(list_made()) >= 4, "SEG and SR twice", orthanc, listener)
    wait(lambda: list((folder / "queue" / "done").iterdir()), "the case is done", listener)
    (folder / "found").mkdir()
    for number, instance in enumerate(list_made()):
        (folder / "found" / f"{number}.dcm").write_bytes(ask(f"/instances/{instance}/file"))
    return report


def list_made() -> list[str]:
    """The objects in Orthanc that are no scans."""
    found = []
    for modality in ("SEG", "SR"):
        query = {"Level": "Instance", "Query": {"Modality": modality}}
        found += ask("/tools/find", json.dumps(query).encode())
    return found


def main(folder: Path) -> None:
    raise_loopback()
    orthanc = start_orthanc(folder)
    listener = start_listener(folder)
    try:
        report = go_through(folder, orthanc, listener)
        listener.send_signal(signal.SIGTERM)
        report["exit_code"] = listener.wait(30)
        (folder / "report.json").write_text(json.dumps(report))
    finally:
        for process in (listener, orthanc):
            if process.poll() is None:
                process.kill()
                process.wait()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]).absolute())
