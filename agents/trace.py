"""Traces on disk: written while the agent runs, readable while it runs and after a crash.

One directory a run: ``run.json`` (what was asked, what came out), ``events.jsonl`` (one event a line, in order) and
``blobs/<sha256>.jpg`` and ``.png`` (the frames that were seen and the heat maps of looks, each stored once).
"""

import fcntl
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from agents.events import Event, Fork, FrameRef, HeatRef, RunInfo, Trace, ViewNode, frame_path, heat_path
from agents.question import Question
from agents.recorder import Recorder, RunFile
from tools.errors import BadInput, NotFound
from tools.media.video import Video

__all__ = ["Event", "Fork", "FrameRef", "HeatRef", "Recorder", "RunInfo", "Trace", "TraceStore", "ViewNode"]

_LOG = logging.getLogger(__name__)
_ID = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TORN = "the last line of events.jsonl is torn: the run ended while it was written"


class TraceStore:
    """All traces under one folder. Safe for several threads and several processes.

    Args:
        root: the folder; made when the first trace is written.
        clock: seconds since 1970-01-01 UTC.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self.clock = clock
        self._lock = threading.Lock()
        self._last = 0

    def create(
        self,
        question: Question,
        profile: str,
        *,
        videos: Sequence[Video] = (),
        model: str | None = None,
        prompts: Mapping[str, str] | None = None,
        forked_from: Fork | None = None,
    ) -> Recorder:
        """Starts a trace.

        Args:
            profile: name of the profile that answers.
            videos: those in scope with their facts.
            model: the chat model that reasons, if one does.
            prompts: SHA-256 of every prompt in use, by name.
            forked_from: the run that this one continues.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        while True:
            created = self._tick()
            info = RunInfo(
                id=_new_id(created),
                question=question,
                profile=profile,
                status="running",
                created=created / 1e6,
                model=model,
                prompts=dict(prompts or {}),
                forked_from=forked_from,
            )
            with suppress(FileExistsError):
                return Recorder(self.root / info.id, info, videos, self.clock)

    def list(self, limit: int | None = None) -> list[RunInfo]:
        """The runs, newest first; those whose ``run.json`` cannot be read are left out and logged."""
        if not self.root.is_dir():
            return []
        names = sorted((path.name for path in self.root.iterdir() if _ID.fullmatch(path.name)), reverse=True)
        runs: list[RunInfo] = []
        for name in names:
            if limit is not None and len(runs) >= limit:
                break
            try:
                run = self._read_run(self.root / name)
            except (OSError, ValidationError) as error:
                _LOG.warning("trace %s cannot be read: %s", name, error)
                continue
            tail = _torn_tail(self.root / name / "events.jsonl") if run.info.status == "crashed" else ()
            runs.append(run.info.model_copy(update={"warnings": run.info.warnings + tail}))
        return runs

    def open(self, trace_id: str) -> Trace:
        """The trace as far as it is written.

        Raises:
            NotFound: there is none with this id.
            BadInput: the text is no trace id, or its ``run.json`` is damaged.
        """
        path = self._path(trace_id)
        try:
            run = self._read_run(path)
        except ValidationError as error:
            raise BadInput(
                f"the file run.json of trace {trace_id} is damaged or from another version of Loupe ({error.title})",
                remedy=f"read its events in {path / 'events.jsonl'}, or remove the trace",
                field="trace_id",
            ) from error
        events, warnings = _read_events(path / "events.jsonl", growing=run.info.status == "running")
        info = run.info.model_copy(update={"warnings": run.info.warnings + warnings})
        return Trace(info=info, events=events, videos=run.videos, result=run.result, path=path)

    def frame(self, trace_id: str, sha256: str) -> bytes:
        """A frame that was seen, as JPEG.

        Raises:
            NotFound: no such trace or frame.
            BadInput: not an id, or not a hash.
        """
        return self._blob(trace_id, sha256, frame_path, "frame")

    def heat(self, trace_id: str, sha256: str) -> bytes:
        """A heat map of a look, as PNG; see `tools.evidence.HeatMap`.

        Raises:
            NotFound: no such trace or heat map.
            BadInput: not an id, or not a hash.
        """
        return self._blob(trace_id, sha256, heat_path, "heat map")

    def _blob(self, trace_id: str, sha256: str, path_of: Callable[[Path, str], Path], what: str) -> bytes:
        field = what.partition(" ")[0]
        if not _SHA256.fullmatch(sha256):
            raise BadInput(
                f"'{sha256[:80]}' is not the name of a {what}",
                remedy="use a sha256 from the trace's events, 64 hexadecimal digits",
                field=field,
            )
        path = self._path(trace_id)
        try:
            return path_of(path, sha256).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(
                f"trace {trace_id} has no {what} {sha256[:12]}", remedy="use one that its events name", field=field
            ) from error

    def remove(self, trace_id: str) -> None:
        """Deletes a trace with its frames.

        Raises:
            NotFound: there is none with this id.
            BadInput: the text is no trace id, or the run is still going.
        """
        path = self._path(trace_id)
        if _alive(path / "events.jsonl"):
            raise BadInput(
                f"trace {trace_id} is still being written", remedy="wait until its run has ended", field="trace_id"
            )
        # Renamed first, so that no reader meets a half-deleted trace.
        grave = path.with_name(f".removed-{trace_id}-{secrets.token_hex(4)}")
        path.rename(grave)
        shutil.rmtree(grave)

    def _tick(self) -> int:
        """Microseconds since 1970, later than any that this store gave before."""
        with self._lock:
            self._last = max(int(self.clock() * 1e6), self._last + 1)
            return self._last

    def _path(self, trace_id: str) -> Path:
        if not _ID.fullmatch(trace_id):
            raise BadInput(
                f"'{trace_id[:80]}' is not a trace id", remedy="list the traces with `loupe trace ls`", field="trace_id"
            )
        path = self.root / trace_id
        if not (path / "run.json").is_file():
            raise NotFound(
                f"there is no trace {trace_id}", remedy="list the traces with `loupe trace ls`", field="trace_id"
            )
        return path

    def _read_run(self, path: Path) -> RunFile:
        # The lock is tried before the file is read: a run that ends in between is then seen as done, never as crashed.
        alive = _alive(path / "events.jsonl")
        run = RunFile.model_validate_json((path / "run.json").read_bytes())
        if run.info.status == "running" and not alive:
            run = run.model_copy(update={"info": run.info.model_copy(update={"status": "crashed"})})
        return run


def _new_id(microseconds: int) -> str:
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y%m%dT%H%M%S}{microseconds % 1_000_000:06d}-{secrets.token_hex(4)}"


def _alive(events: Path) -> bool:
    """Whether a recorder holds the file. Where the file system has no locks, nobody can tell, and the answer is yes."""
    try:
        with events.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _read_events(path: Path, *, growing: bool) -> tuple[tuple[Event, ...], tuple[str, ...]]:
    """Events of the whole lines, and a warning for every other one; a growing file may end in half a line."""
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return (), ("the file events.jsonl is missing",)
    events: list[Event] = []
    warnings: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(Event.model_validate_json(line))
        except ValidationError:
            warnings.append(f"line {number} of events.jsonl is damaged and left out")
    if tail and not growing:
        warnings.append(_TORN)
    return tuple(events), tuple(warnings)


def _torn_tail(path: Path) -> tuple[str, ...]:
    """The warning for a file that does not end with a newline, looking at its last byte only."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return ()
            file.seek(-1, os.SEEK_END)
            return () if file.read(1) == b"\n" else (_TORN,)
    except FileNotFoundError:
        return ("the file events.jsonl is missing",)
