"""Talking to a running service, for commands that find the index taken by one."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from tools import errors
from tools.errors import Forbidden, LoupeError, StoreError, ToolUnavailable

#: File in the data directory that tells where the service is; written by `api.serve`.
SERVICE_FILE = "service.json"
#: Seconds between two looks at a job.
POLL_S = 0.3


class Client:
    """A service by its address.

    Args:
        url: without a path.
        token: sent as bearer token if there is one.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Answers may take minutes; whether the service is there at all shows at once.
        timeout = httpx.Timeout(10.0, read=None)
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
        self._http.close()

    def get(self, path: str, **options: Any) -> Any:
        """The JSON that a GET answers; raises what the problem says, as its own class."""
        return self._json("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        """The JSON that a POST answers."""
        return self._json("POST", path, **options)

    def delete(self, path: str) -> None:
        """A DELETE."""
        self._json("DELETE", path)

    def alive(self) -> bool:
        """Whether a service answers there."""
        try:
            return self._http.get("/healthz", timeout=5.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def ready(self) -> dict[str, Any]:
        """What ``/readyz`` says, ready or not."""
        with _reachable(self.url):
            body: dict[str, Any] = self._http.get("/readyz", timeout=30.0).json()
            return body

    def register(self, path: Path, *, index: bool = True) -> dict[str, Any]:
        """Registers a file by its path where the service may open it, else uploads it."""
        try:
            return dict(self.post("/v1/videos", json={"uri": str(path), "index": index}))
        except Forbidden:
            with path.open("rb") as file:
                form = {"index": str(index).lower()}
                return dict(self.post("/v1/videos", files={"file": (path.name, file)}, data=form))

    def wait(self, job: dict[str, Any], on_change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Waits for a job's end and reports its state on the way.

        Raises:
            LoupeError: the job failed or was stopped.
        """
        while job["status"] in ("queued", "running"):
            time.sleep(POLL_S)
            job = self.get(f"/v1/jobs/{job['id']}")
            on_change(job)
        if job["status"] != "done":
            if job.get("error"):
                raise error_of(job["error"])
            raise ToolUnavailable(f"indexing was {job['status']}", remedy="start it again; it goes on from there")
        return job

    def events(self, question: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Asks and yields the agent's steps, the last of them "answer".

        Raises:
            LoupeError: the run failed.
        """
        with _reachable(self.url):
            with self._http.stream("POST", "/v1/ask", json=question | {"stream": True}) as reply:
                if reply.is_error:
                    reply.read()
                    raise _error(reply)
                for name, data in _messages(reply.iter_lines()):
                    if name == "error":
                        raise error_of(data)
                    yield name, data

    def _json(self, method: str, path: str, **options: Any) -> Any:
        with _reachable(self.url):
            reply = self._http.request(method, path, **options)
        if reply.is_error:
            raise _error(reply)
        return reply.json() if reply.content else None


def running(home: Path, token: str | None = None) -> Client | None:
    """The service that holds this data directory, or None where there is none."""
    try:
        noted = json.loads((home / SERVICE_FILE).read_text())
        url, pid = str(noted["url"]), int(noted["pid"])
    except (OSError, ValueError, KeyError):
        return None
    if not psutil.pid_exists(pid):
        return None
    client = Client(url, os.environ.get("LOUPE_TOKEN") or token)
    if client.alive():
        return client
    raise StoreError(
        f"a service (process {pid}) holds this data directory but does not answer at {url}",
        remedy="wait until it has started, or stop it, and try again",
    )


def error_of(problem: dict[str, Any]) -> LoupeError:
    """The error that a problem describes, as the class it was raised with."""
    name = "".join(word.capitalize() for word in str(problem.get("type", "")).rpartition(":")[2].split("-"))
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, LoupeError)):
        kind = ToolUnavailable if problem.get("status", 500) >= 500 else errors.BadInput
    detail, remedy = (
        str(problem.get("detail", "no reason given")),
        str(problem.get("remedy") or "see the service's log"),
    )
    return kind(detail, remedy=remedy, field=problem.get("field"))


def _error(reply: httpx.Response) -> LoupeError:
    try:
        return error_of(reply.json())
    except ValueError:
        return ToolUnavailable(f"the service answered {reply.status_code}", remedy="see its log")


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise ToolUnavailable(
            f"the service at {url} does not answer ({type(error).__name__})", remedy="check that it runs"
        ) from error


def _messages(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name, data = "message", []
    for line in lines:
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].lstrip())
        elif not line and data:
            yield name, json.loads("\n".join(data))
            name, data = "message", []
