"""The short form of ``scripts/soak mutation``: some thousand mutated files, none of which is a surprise."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_mutated_files_are_refused_or_sound(tmp_path):
    script, findings = ROOT / "scripts" / "soaking" / "mutation.py", tmp_path / "findings"
    words = ["--minutes", "0.1", "--random", "--seed", "7", "--findings", str(findings)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(script), *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert not findings.exists()
    assert " read" in done.stdout
