"""Free memory: the machine's, and the limits of the control groups around the process."""

from pathlib import Path

import pytest

from medseg.compute.memory import read_free_bytes

GB = 10**9


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MACHINE = {"proc/meminfo": "MemTotal:       9000000 kB\nMemFree:  100 kB\nMemAvailable:    8000000 kB\n"}


def test_without_groups_it_is_the_machines(tmp_path: Path) -> None:
    write(tmp_path, MACHINE)
    assert read_free_bytes(tmp_path) == 8_000_000 * 1024
    write(tmp_path, {"proc/self/cgroup": "0::/\n"})
    assert read_free_bytes(tmp_path) == 8_000_000 * 1024


def test_version_2_is_read_up_to_the_root(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/user/job"
    stat = f"anon 5\ninactive_file {GB // 2}\nactive_file {GB // 4}\n"
    write(tmp_path, {**MACHINE, "proc/self/cgroup": "0::/user/job/task\n"})
    write(tmp_path, {f"{group}/task/memory.max": "max\n", f"{group}/task/memory.current": "17\n"})
    write(tmp_path, {f"{group}/memory.max": f"{4 * GB}\n", f"{group}/memory.current": f"{3 * GB}\n"})
    write(tmp_path, {f"{group}/memory.stat": stat})
    assert read_free_bytes(tmp_path) == 4 * GB - 3 * GB + GB // 2 + GB // 4


def test_version_1_and_a_path_that_is_the_hosts(tmp_path: Path) -> None:
    base = "sys/fs/cgroup/memory"
    write(tmp_path, {**MACHINE, "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/0123\n0::/\n"})
    write(tmp_path, {f"{base}/memory.limit_in_bytes": f"{2 * GB}\n", f"{base}/memory.usage_in_bytes": f"{GB}\n"})
    write(tmp_path, {f"{base}/memory.stat": f"inactive_file 7\ntotal_inactive_file {GB // 10}\n"})
    assert read_free_bytes(tmp_path) == GB + GB // 10
    # No limit is written as a huge number.
    write(tmp_path, {f"{base}/memory.limit_in_bytes": "9223372036854771712\n"})
    assert read_free_bytes(tmp_path) == 8_000_000 * 1024


def test_more_used_than_allowed_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, {**MACHINE, "proc/self/cgroup": "0::/\n"})
    write(tmp_path, {"sys/fs/cgroup/memory.max": "100\n", "sys/fs/cgroup/memory.current": "200\n"})
    assert read_free_bytes(tmp_path) == 0


def test_this_machine_has_some() -> None:
    assert read_free_bytes() > 10**7


@pytest.mark.parametrize("text", ["", "rubbish\n", "MemAvailable: lots kB\n"])
def test_a_system_that_does_not_tell(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"proc/meminfo": text})
    assert read_free_bytes(tmp_path) > 0
