"""A listener that is killed before its n-th open, write, fsync or rename, and what the next one makes of it.

    python -m tests.tools.listen.killed FOLDER MODEL N [N ...]

Each listener, sender and archive is a process of its own, forked from this one, which has loaded all they need and
has no threads. For each N a line of JSON tells what the sender was promised, what was there after the death, and what
in the end. N 0 is never reached; its line tells how many steps there are.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medseg.core import atomic
from medseg.inference import Predictor
from medseg.tools.listen.instances import read_facts
from medseg.tools.listen.rules import Rules
from tests.tools.listen.examples import run_archive, run_listener, send, work_off, write_rules, write_series

SECONDS = 120.0


def fork(job: Callable[[], None]) -> int:
    """Run a job in a process of its own; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        job()
        code = 0
    finally:
        os._exit(code)


def wait(path: Path) -> str:
    """The content of a file that another process writes."""
    end = time.monotonic() + SECONDS
    while not path.is_file() or not path.read_text():
        assert time.monotonic() < end, path
        time.sleep(0.01)
    return path.read_text()


def put(path: Path, content: Any) -> None:
    path.with_suffix(".new").write_text(json.dumps(content))
    path.with_suffix(".new").rename(path)


def die_before(step: int, count: list[int]) -> Callable[[str, Path], None]:
    def hook(name: str, path: Path) -> None:
        count[0] += 1
        if count[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def serve(folder: Path, rules: Rules, step: int, mark: str) -> None:
    """Listen until the case has come to its end."""
    count = [0]
    with atomic.fault_hook(die_before(step, count)), run_listener(folder / "queue", rules, 0.5) as (listener, port):
        put(folder / f"port{mark}", port)
        work_off(listener, "done", "failed", seconds=SECONDS)
    put(folder / f"steps{mark}", count[0])


def deliver(folder: Path, files: list[Path], mark: str) -> None:
    """Send files; those that the listener promised to keep are noted."""
    port = int(wait(folder / f"port{mark}"))
    try:
        answers = send(port, files)
    except AssertionError:  # there is nobody any more
        answers = []
    put(folder / f"promised{mark}", [path.name for path, answer in zip(files, answers, strict=False) if answer == 0])


def keep(folder: Path) -> None:
    """An archive, until it is ended."""
    with run_archive(folder / "archive") as archive:
        put(folder / "archive_port", archive.port)
        time.sleep(SECONDS)


def list_kept(folder: Path, files: list[Path]) -> list[str]:
    """The names of the files whose instances stand in the queue, whole."""
    own = {read_facts(path).sop_instance_uid: path for path in files}
    found = []
    for path in (folder / "queue").glob("*/*/scans/*/*.dcm"):
        source = own[read_facts(path).sop_instance_uid]
        if path.read_bytes().endswith(source.read_bytes()[-500:]):
            found.append(source.name)
    return sorted(found)


def play(folder: Path, model: Path, step: int) -> dict[str, Any]:
    """One death and what comes after it."""
    files = write_series(folder / "scan")
    archive = fork(lambda: keep(folder))
    try:
        pacs = {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": int(wait(folder / "archive_port"))}
        rules = write_rules(folder / "rules.json", model, archives={"pacs": pacs}, rule={"send_to": ["pacs"]})
        first = fork(lambda: serve(folder, rules, step, "1"))
        sender = fork(lambda: deliver(folder, files, "1"))
        _, status = os.waitpid(first, 0)
        if not (folder / "port1").is_file():
            put(folder / "port1", 1)  # nobody listens there
        os.waitpid(sender, 0)
        promised = json.loads(wait(folder / "promised1"))
        kept = list_kept(folder, files)
        if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
            left = [path for path in files if path.name not in promised]
            second = fork(lambda: serve(folder, rules, 0, "2"))
            sender = fork(lambda: deliver(folder, left, "2"))
            os.waitpid(sender, 0)
            os.waitpid(second, 0)
    finally:
        os.kill(archive, signal.SIGKILL)
        os.waitpid(archive, 0)
    failed = [path.read_text() for path in (folder / "queue" / "failed").glob("*/case.json")]
    done = [json.loads(path.read_text()) for path in (folder / "queue" / "done").glob("*/case.json")]
    return {
        "step": step, "code": os.waitstatus_to_exitcode(status), "promised": promised, "kept": kept,
        "done": [case["instances"] for case in done],
        "failed": failed, "in_the_end": list_kept(folder, files),
        "objects": sorted(read_facts(path).sop_class_uid for path in (folder / "archive").glob("*.dcm")),
        "left": sorted(path.name for path in (folder / "queue").rglob(".tmp*")),
        "steps": json.loads((folder / "steps1").read_text()) if (folder / "steps1").is_file() else 0,
    }  # fmt: skip


def main() -> None:
    folder, model = Path(sys.argv[1]), Path(sys.argv[2])
    Predictor.load(model, device="cpu")  # so that each process need not import it all
    for step in map(int, sys.argv[3:]):
        place = folder / str(step)
        place.mkdir(parents=True)
        print(json.dumps(play(place, model, step)), flush=True)


if __name__ == "__main__":
    main()
