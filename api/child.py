"""The service as a child process: started on a free port, watched until it is ready, ended by its process id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from api.client import Client
from tools.errors import LoupeError, ToolUnavailable

#: Seconds that a service gets to start; a first start loads libraries from a cold disk.
START_S = 300.0
#: Seconds that it gets to stop by itself before its processes are ended.
STOP_S = 40.0
_POLL_S = 0.5


class Child:
    """A running service of its own data directory.

    Args:
        home: its data directory.
        log: file for what it says.
        environment: variables beyond this process's.
        on_wait: told what it is waiting for.
    """

    def __init__(
        self,
        home: Path,
        log: Path,
        *,
        profile: str | None = None,
        environment: Mapping[str, str] | None = None,
        on_wait: Callable[[str], None] = lambda text: None,  # noqa: ARG005
    ) -> None:
        from api.serve import free_port

        self.home = home
        self._log = log
        self._on_wait = on_wait
        port = free_port("127.0.0.1")
        self.client = Client(f"http://127.0.0.1:{port}")
        command = [sys.executable, "-m", "api", "serve", "--host", "127.0.0.1", "--port", str(port)]
        self._command = [*command, *(["--profile", profile] if profile else [])]
        self._environment = {**os.environ, **(environment or {}), "LOUPE_HOME": str(home)}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C reaches this process only, which then stops the child in good order.
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the service."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """Asks the service to stop, and ends what is left of it after `STOP_S`."""
        self.client.close()
        process = self._process
        if process is None:
            return
        self._process = None
        family = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(process.pid).children(recursive=True)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        if process.poll() is None:
            process.kill()
            process.wait()
        for one in psutil.wait_procs(family, timeout=5)[1]:
            with suppress(psutil.NoSuchProcess):
                one.kill()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise ToolUnavailable(
                    f"the service ended while it started ({self._last_line()})", remedy=f"see {self._log}"
                )
            # The proxy answers before the application behind it does.
            if self.client.alive():
                with suppress(LoupeError, ValueError):
                    ready = self.client.ready()
                    if ready.get("ready"):
                        return
            if time.monotonic() > deadline:
                raise ToolUnavailable(
                    f"the service is not ready after {START_S:g} s ({self._last_line()})", remedy=f"see {self._log}"
                )
            self._on_wait(self._last_line())
            time.sleep(_POLL_S)

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].removeprefix("loupe: ")[:300] if lines else "starting Ray"
