"""Ctrl-C while a real process indexes: the store stays whole and a second run finishes the work."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.synth.builders import long_script
from evals.synth.write import write

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Lets what a test starts hear Ctrl-C: a shell's background jobs ignore it and so do their children, unless there
    is a handler, which children do not inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def index(video: Path, home: Path, *, interrupt: bool) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "api", "index", str(video), "--json"]
    environment = {**os.environ, "LOUPE_HOME": str(home)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        seen = ""
        if interrupt:
            assert process.stderr is not None
            for line in process.stderr:
                seen += line
                if "pictures" in line or "speech" in line:
                    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
                    break
        out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(command, process.returncode, out, seen + err)


def test_a_second_run_continues(tmp_path: Path) -> None:
    video, home = tmp_path / "long.mp4", tmp_path / "home"
    write(long_script(3, 2, speech=False), video)
    first = index(video, home, interrupt=True)
    assert first.returncode == 130, first.stderr
    assert "Traceback" not in first.stderr
    second = index(video, home, interrupt=False)
    assert second.returncode == 0, second.stderr
    clips = json.loads(second.stdout)
    third = index(video, home, interrupt=False)
    assert third.returncode == 0
    assert json.loads(third.stdout)[0]["clips"] == clips[0]["clips"]
