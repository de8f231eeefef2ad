"""The tool `ocr`: reads the pictures of a view."""

import os
from concurrent.futures import ThreadPoolExecutor

from tools.media.frames import Frames
from tools.ocr import OcrBackend, TextLine, TextTrack
from tools.ocr.tracks import merge


class OcrTool:
    """Reads frames with one backend, several at once. Safe to call from several threads.

    Args:
        backend: the recogniser.
        workers: frames that are read at once by one call; by default as many as there are cores, four at most.
    """

    def __init__(self, backend: OcrBackend, workers: int | None = None) -> None:
        self._backend = backend
        self._workers = workers if workers is not None else min(4, os.cpu_count() or 1)

    @property
    def model(self) -> str:
        """What evidence names as its model."""
        return self._backend.model

    def read(self, frames: Frames) -> list[list[TextLine]]:
        """For every frame its lines in reading order; regions in fractions of the frames as given."""
        if len(frames) < 2 or self._workers < 2:
            return [self._backend.read(image) for image in frames.images]
        with ThreadPoolExecutor(min(self._workers, len(frames)), thread_name_prefix="ocr") as pool:
            return list(pool.map(self._backend.read, frames.images))

    def tracks(self, frames: Frames, until: float) -> list[TextTrack]:
        """What is written in a view, merged over time; ``until`` is when the last frame ends, in seconds."""
        return merge([float(time) for time in frames.times], until, self.read(frames))

    def model_name(self) -> str:
        """`model`, for callers that reach only methods."""
        return self.model
