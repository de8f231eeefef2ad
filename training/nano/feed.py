"""Batches drawn ahead of time by processes of their own, in order."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from training.nano.batches import Batch, Job, draw


class Feed:
    """Draws the batches of jobs. What comes out depends on the jobs alone, not on how many processes draw.

    Args:
        vocabulary: the tokenizer's file.
        workers: drawing processes; 0 draws in this one when a batch is asked for.
        ahead: jobs that may wait.
    """

    def __init__(self, vocabulary: Path, workers: int = 1, ahead: int = 8) -> None:
        self._vocabulary, self._ahead = vocabulary, ahead
        self._pool: ProcessPoolExecutor | None = None
        if workers > 0:
            # Fresh interpreters: a fork of a process whose torch threads run may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent)

    def batches(self, jobs: Iterable[Job]) -> Generator[Batch]:
        """The batches of ``jobs`` in their order."""
        if self._pool is None:
            for job in jobs:
                yield from draw(job, self._vocabulary)
            return
        waiting: deque[Future[list[Batch]]] = deque()
        try:
            for job in jobs:
                waiting.append(self._pool.submit(draw, job, self._vocabulary))
                if len(waiting) >= self._ahead:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _die_with_parent() -> None:
    """Ends this process when the one that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
