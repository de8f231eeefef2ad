"""Indexing in the background: a few jobs at a time, their progress on disk."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agents.loupe import Loupe
from api.asking import void
from api.problems import of_error
from api.schemas import Job, Problem
from tools.errors import BadInput, NotFound
from tools.indexing.indexer import Progress

#: Jobs under way at a time; more wait. Two keep the machine busy while one of them reads speech and the other pictures.
PARALLEL = 2
#: The passes over a video that report progress.
PASSES = ("speech", "pictures")
#: Seconds between two writes of a job's progress.
WRITE_EVERY_S = 0.5

_LOG = logging.getLogger("loupe.api")
_ID = re.compile(r"job-[0-9a-f]{16}")


class Jobs:
    """The jobs of one service over ``folder``. All methods belong to the event loop's thread, except that progress may
    come from any."""

    def __init__(self, loupe: Loupe, folder: Path, on_end: Callable[[Job], None] = void) -> None:
        self._loupe = loupe
        self._folder = folder
        self._on_end = on_end
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._live: dict[str, Job] = {}
        self._closing = False
        self._slots = asyncio.Semaphore(PARALLEL)

    def recover(self) -> None:
        """Marks what an earlier service left unfinished as interrupted."""
        for job in self.list():
            if not job.finished:
                self._write(job.model_copy(update={"status": "interrupted", "ended": time.time()}))

    def start(self, video_id: str) -> Job:
        """A new job that indexes the video, or the one that already does."""
        for job in self._live.values():
            if job.video_id == video_id:
                return job
        total = self._loupe.library.get(video_id).info.span.duration
        job = Job(id=f"job-{secrets.token_hex(8)}", video_id=video_id, total=total, created=time.time())
        self._update(job)
        task = asyncio.create_task(self._run(job.id))
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))
        return job

    def list(self) -> list[Job]:
        """All jobs, newest first."""
        names = self._folder.glob("job-*.json") if self._folder.is_dir() else ()
        jobs = {path.stem: job for path in names if (job := self._read(path.stem)) is not None}
        jobs.update(self._live)
        return sorted(jobs.values(), key=lambda job: job.created, reverse=True)

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: there is none with this id.
        """
        job = self._live.get(job_id) or self._read(job_id)
        if job is None:
            raise NotFound(f"there is no job '{job_id[:64]}'", remedy="list the jobs to see their ids", field="job_id")
        return job

    async def cancel(self, job_id: str) -> Job:
        """Stops a job; what it has indexed stays, and a new job goes on from there.

        Raises:
            NotFound: there is none with this id; BadInput: it has ended.
        """
        job = self.get(job_id)
        task = self._tasks.get(job_id)
        if task is None or job.finished:
            raise BadInput(
                f"job '{job_id}' is {job.status}", remedy="only a job under way can be stopped", field="job_id"
            )
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if job_id in self._live:
            # Stopped before its first step, the task never came to note its own end.
            self._end(job_id, status="cancelled")
        return self.get(job_id)

    async def cancel_video(self, video_id: str) -> None:
        """Stops the job of a video, if there is one."""
        for job in [job for job in self._live.values() if job.video_id == video_id]:
            await self.cancel(job.id)

    async def close(self) -> None:
        """Stops all jobs; they are marked as interrupted."""
        self._closing = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job_id: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with self._slots:
                begun = time.time()
                self._change(job_id, status="running", started=begun)
                stages = dict.fromkeys(PASSES, 0.0)
                written = 0.0

                def progress(now: Progress) -> None:
                    nonlocal written
                    stages[now.stage] = now.seconds
                    # Passes run side by side and cost about the same; one that has not spoken yet has done nothing.
                    done = sum(stages.values()) / len(stages)
                    changes = {"stage": now.stage, "seconds": done, "total": now.total}
                    rate = done / max(time.time() - begun, 1e-6)
                    due = time.monotonic() - written >= WRITE_EVERY_S
                    written = time.monotonic() if due else written
                    self._change(job_id, write=due, realtime=rate, **changes)

                report = await self._loupe.indexer.index(
                    self._live[job_id].video_id,
                    lambda now: None if loop.is_closed() else void(loop.call_soon_threadsafe(progress, now)),
                )
                self._end(
                    job_id,
                    status="done",
                    seconds=self._live[job_id].total,
                    clips=report.clips,
                    realtime=report.realtime,
                    notes=report.notes,
                )
        except asyncio.CancelledError:
            self._end(job_id, status="interrupted" if self._closing else "cancelled")
            raise
        except Exception as error:  # noqa: BLE001 - a job ends with a problem, whatever happens in it
            self._end(job_id, status="failed", error=Problem.model_validate(of_error(error)))

    def _change(self, job_id: str, *, write: bool = True, **changes: Any) -> None:
        job = self._live.get(job_id)
        if job is not None:
            self._update(job.model_copy(update=changes), write=write)

    def _end(self, job_id: str, **changes: Any) -> None:
        self._change(job_id, ended=time.time(), **changes)
        self._on_end(self._live.pop(job_id))

    def _update(self, job: Job, *, write: bool = True) -> None:
        self._live[job.id] = job
        if write:
            self._write(job)

    def _write(self, job: Job) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._folder / f".{job.id}.tmp"
            draft.write_text(job.model_dump_json())
            draft.replace(self._folder / f"{job.id}.json")
        except OSError:
            # The record of a job is not worth the job: it goes on, and is known as long as the service lives.
            _LOG.exception("the record of %s could not be written", job.id)

    def _read(self, job_id: str) -> Job | None:
        if not _ID.fullmatch(job_id):
            return None
        try:
            return Job.model_validate_json((self._folder / f"{job_id}.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            _LOG.warning("the record of %s is damaged and left out", job_id)
            return None
