"""Worker processes for recognisers that hold the interpreter's lock while they work."""

import logging
import queue
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tools.errors import ToolUnavailable

logger = logging.getLogger(__name__)

#: Every message is its length, four bytes, and then its bytes.
_LENGTH = struct.Struct("!I")
#: Seconds that a worker gets to end by itself.
_PATIENCE = 5.0


def send(stream: IO[bytes], message: bytes) -> None:
    """Writes one message."""
    stream.write(_LENGTH.pack(len(message)) + message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Reads one message; None at the end of the stream, also in the midst of a message."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    message = stream.read(length)
    return message if len(message) == length else None


class WorkerPool:
    """Processes that run a Python file and answer messages, each one at a time.

    A process starts when a call finds none idle and fewer than ``size`` running. It ends when its standard input
    closes, so none outlives this process, whatever ends it. Safe to use from several threads.

    Args:
        program: Python file that answers each message on standard input (`receive`) with one on standard output.
        size: most processes at a time.
        arguments: given to the program.
    """

    def __init__(self, program: Path, size: int, *, arguments: Sequence[str] = ()) -> None:
        self._program = program
        self._command = [sys.executable, "-P", str(program), *arguments]
        self._size = size
        self._idle: queue.LifoQueue[subprocess.Popen[bytes]] = queue.LifoQueue()
        self._running: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._free = threading.Semaphore(size)
        self._finalizer = weakref.finalize(self, _end_all, self._running)

    def call(self, message: bytes) -> bytes:
        """The answer to ``message``; a worker that dies is replaced and asked once more.

        Raises:
            ToolUnavailable: if the second worker dies too.
        """
        with self._free:
            for _ in range(2):
                worker = self._take()
                answer = _ask(worker, message)
                if answer is not None:
                    self._idle.put(worker)
                    return answer
                logger.warning("%s: worker %d died, exit status %s", self._program.name, worker.pid, worker.poll())
                with self._lock:
                    self._running.remove(worker)
                _end(worker)
        raise ToolUnavailable(
            f"the worker process {self._program.name} died twice on the same input",
            remedy="look at its standard error, and at the memory that is free",
        )

    def pids(self) -> list[int]:
        """Process ids of the running workers."""
        with self._lock:
            return [worker.pid for worker in self._running]

    def close(self) -> None:
        """Ends the workers once the calls under way are over; a later call starts new ones."""
        for _ in range(self._size):
            self._free.acquire()
        try:
            with self._lock:
                while not self._idle.empty():
                    self._idle.get_nowait()
                _end_all(self._running)
        finally:
            self._free.release(self._size)

    def _take(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if not self._idle.empty():
                return self._idle.get_nowait()
        # A session of its own keeps Ctrl-C in a terminal from reaching the worker; -P keeps its folder off its path.
        worker = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        with self._lock:
            self._running.append(worker)
        return worker


def _ask(worker: "subprocess.Popen[bytes]", message: bytes) -> bytes | None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        send(worker.stdin, message)
    except BrokenPipeError:
        return None
    return receive(worker.stdout)


def _end_all(workers: "list[subprocess.Popen[bytes]]") -> None:
    while workers:
        _end(workers.pop())


def _end(worker: "subprocess.Popen[bytes]") -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.close()
    except BrokenPipeError:
        logger.debug("worker %d had closed its input", worker.pid)
    try:
        worker.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
    worker.stdout.close()
