"""The pool of worker processes: answers, deaths, endings."""

import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tools.asr.workers import WorkerPool
from tools.errors import ToolUnavailable

pytestmark = pytest.mark.slow

ECHO = """
import os, struct, sys, time
source, sink = sys.stdin.buffer, sys.stdout.buffer
while header := source.read(4):
    message = source.read(struct.unpack("!I", header)[0])
    if message == b"die" or (message == b"die once" and not os.path.exists(sys.argv[1])):
        open(sys.argv[1], "w").close()
        os._exit(3)
    if message == b"slow":
        time.sleep(0.3)
    answer = message[::-1] + str(os.getpid()).encode()
    sink.write(struct.pack("!I", len(answer)) + answer)
    sink.flush()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "echo.py"
    path.write_text(ECHO)
    return path


@pytest.fixture
def pool(program: Path, tmp_path: Path) -> WorkerPool:
    made = WorkerPool(program, 2, arguments=[str(tmp_path / "died")])
    yield made  # type: ignore[misc]
    made.close()


def test_a_worker_starts_with_the_first_call_and_is_used_again(pool: WorkerPool) -> None:
    assert pool.pids() == []
    assert pool.call(b"abc").startswith(b"cba")
    first = pool.pids()
    assert pool.call(b"") == str(first[0]).encode()
    assert pool.pids() == first


def test_no_more_workers_than_allowed(pool: WorkerPool) -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(pool.call, [b"slow"] * 6))
    assert len(pool.pids()) == 2
    assert {int(answer[4:]) for answer in answers} == set(pool.pids())


def test_a_worker_that_died_is_replaced(pool: WorkerPool) -> None:
    assert pool.call(b"die once").startswith(b"ecno eid")
    assert len(pool.pids()) == 1


def test_a_worker_that_was_killed_while_idle_is_replaced(pool: WorkerPool) -> None:
    pool.call(b"x")
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert pool.call(b"abc").startswith(b"cba")
    assert pid not in pool.pids()


def test_input_that_kills_every_worker_is_one_clear_error(pool: WorkerPool) -> None:
    with pytest.raises(ToolUnavailable, match="died twice"):
        pool.call(b"die")
    assert pool.pids() == []
    assert pool.call(b"abc").startswith(b"cba")


def test_close_ends_the_processes_and_a_later_call_starts_new_ones(pool: WorkerPool) -> None:
    pool.call(b"x")
    (pid,) = pool.pids()
    pool.close()
    assert pool.pids() == []
    assert not psutil.pid_exists(pid)
    assert pool.call(b"abc").startswith(b"cba")


def test_a_pool_that_is_forgotten_ends_its_processes(program: Path, tmp_path: Path) -> None:
    pool = WorkerPool(program, 1, arguments=[str(tmp_path / "died")])
    pool.call(b"x")
    (pid,) = pool.pids()
    del pool
    gc.collect()
    assert not psutil.pid_exists(pid)


def test_workers_end_when_their_owner_is_killed(program: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tools.asr.workers import WorkerPool\n"
        f"pool = WorkerPool(Path({str(program)!r}), 1, arguments=[{str(tmp_path / 'died')!r}])\n"
        "pool.call(b'x'); print(pool.pids()[0], flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlived its owner"
        time.sleep(0.05)
