"""Writing a trace: one directory a run, one line an event, each frame once."""

import fcntl
import hashlib
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pydantic_core
from pydantic import BaseModel, ConfigDict

from agents.answer import Answer
from agents.events import Event, FrameRef, HeatRef, RunInfo, frame_path, heat_path
from tools.evidence import Cost, Evidence, HeatMap, SeenFrame
from tools.media.video import Video
from tools.media.view import View

_LOG = logging.getLogger(__name__)


class RunFile(BaseModel):
    """The content of ``run.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Version of the directory's layout; another one is refused.
    format: Literal[1] = 1
    info: RunInfo
    videos: tuple[Video, ...] = ()
    result: Answer | None = None


class Recorder:
    """Writes the trace of one run. Safe to call from several threads.

    A full disk or a lost directory never costs the answer: what cannot be written is logged once and counted in
    ``lost``, and recording goes on. As a context manager it marks the run as failed when an exception leaves it.
    """

    def __init__(
        self, path: Path, info: RunInfo, videos: Sequence[Video] = (), clock: Callable[[], float] = time.time
    ) -> None:
        """Creates the run's directory ``path``, which must not exist."""
        self.path = path
        #: Events and frames that could not be written.
        self.lost = 0
        self._info = info
        self._videos = tuple(videos)
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0
        self._torn = False
        self._blobs: set[str] = set()
        path.mkdir()
        (path / "blobs").mkdir()
        # One unbuffered write a line: it is with the kernel at once, where the end of this process cannot harm it.
        self._file = os.open(path / "events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._close = weakref.finalize(self, os.close, self._file)
        # The kernel lets go of the lock when the process ends, however it ends: this is how readers tell a run that is
        # still going from one that crashed. A file system without locks makes every unfinished run look alive.
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._write_run(None)

    @property
    def id(self) -> str:
        """The trace's id."""
        return self._info.id

    def record(
        self,
        *,
        node: str,
        step: int = 0,
        parent: int | None = None,
        tool: str | None = None,
        view: View | None = None,
        args: Mapping[str, Any] | None = None,
        evidence: Sequence[Evidence] = (),
        frames: Sequence[SeenFrame] = (),
        heat: Sequence[HeatMap] = (),
        cost: Cost | None = None,
        started: float | None = None,
        ended: float | None = None,
        note: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Event:
        """Appends one event (see `Event` for the fields) and returns it with its number.

        ``args`` and ``data`` may hold pydantic models, dataclasses, numpy scalars and tuples; they are stored as JSON.
        Without times the event starts and ends now.
        """
        references = tuple(FrameRef(time=frame.time, sha256=self._keep(frame.jpeg, frame_path)) for frame in frames)
        maps = tuple(
            HeatRef(time=one.time, part=one.part, region=one.region, sha256=self._keep(one.png, heat_path))
            for one in heat
        )
        plain_args, plain_data = _plain(args or {}), _plain(data or {})
        note = _clean(note) if note is not None else None
        with self._lock:
            ended = ended if ended is not None else self._clock()
            event = Event(
                n=self._next,
                step=step,
                parent=parent,
                node=node,
                tool=tool,
                view=view,
                args=plain_args,
                evidence=tuple(evidence),
                frames=references,
                heat=maps,
                cost=cost or Cost(),
                started=started if started is not None else ended,
                ended=ended,
                note=note,
                data=plain_data,
            )
            self._append(event.model_dump_json().encode())
            self._next += 1
        return event

    def finish(self, answer: Answer) -> None:
        """Marks the run as done with its answer."""
        self._end(status="done", answer=answer)

    def fail(self, error: str) -> None:
        """Marks the run as failed and says why."""
        self._end(status="failed", error=_clean(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._info.status == "running":
            self.fail(f"{kind.__name__}: {error}" if kind is not None else "it ended without an answer")

    def _end(
        self, *, status: Literal["done", "failed"], answer: Answer | None = None, error: str | None = None
    ) -> None:
        with self._lock:
            changes: dict[str, object] = {"status": status, "ended": self._clock(), "error": error}
            if answer is not None:
                changes |= {"answer": answer.answer, "verdict": answer.verdict, "cost": answer.cost}
            if self.lost:
                changes["warnings"] = (f"{self.lost} events or frames could not be written",)
            self._info = self._info.model_copy(update=changes)
            try:
                self._write_run(answer)
            except OSError as error_:
                self._missed(error_)
            self._close()

    def _write_run(self, answer: Answer | None) -> None:
        run = RunFile(info=self._info, videos=self._videos, result=answer)
        _write_atomically(self.path / "run.json", run.model_dump_json(indent=1).encode())

    def _append(self, line: bytes) -> None:
        rest = (b"\n" if self._torn else b"") + line + b"\n"
        try:
            if not self._close.alive:
                raise OSError("a tool answered after the run had ended")
            while rest:
                rest = rest[os.write(self._file, rest) :]
                self._torn = bool(rest)
        except OSError as error:
            self._missed(error)

    def _keep(self, content: bytes, path_of: Callable[[Path, str], Path]) -> str:
        """Stores a picture under its hash, before the event that names it, and returns the hash."""
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._blobs:
            try:
                _write_atomically(path_of(self.path, digest), content)
                self._blobs.add(digest)
            except OSError as error:
                with self._lock:
                    self._missed(error)
        return digest

    def _missed(self, error: Exception) -> None:
        if self.lost == 0:
            _LOG.warning("trace %s is incomplete: %s", self.id, error)
        self.lost += 1


def _write_atomically(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never a part."""
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def _clean(text: str) -> str:
    """The text without lone surrogates, which no UTF-8 file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping in JSON's own types: models and tuples unfolded, infinities and NaN as null, the rest by ``repr``."""
    plain: dict[str, Any] = _scrub(
        pydantic_core.to_jsonable_python(
            dict(value), inf_nan_mode="null", bytes_mode="base64", fallback=_last_resort, serialize_unknown=True
        )
    )
    return plain


def _last_resort(value: Any) -> Any:
    item = getattr(value, "item", None)  # numpy scalars
    return item() if callable(item) and getattr(value, "shape", None) == () else repr(value)


def _scrub(value: Any) -> Any:
    if isinstance(value, dict):
        return {_clean(str(key)): _scrub(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_scrub(entry) for entry in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return _clean(value) if isinstance(value, str) else value
