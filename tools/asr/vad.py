"""Voice activity: where somebody speaks, found by silero-vad while the sound streams by.

The model sees 32 ms at a time and carries its state on. Its "sequence" ONNX export takes many steps in one call, some
300 times faster than real time on one core; the package's own Python front imports torch, so the file is run directly.
"""

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.asr import SAMPLE_RATE
from tools.errors import ToolUnavailable
from tools.media.span import Span

Audio = npt.NDArray[np.float32]

#: Samples the model judges in one step, and how many before them it also sees.
FRAME = 512
_CONTEXT = 64
_STATE = (1, 1, 128)
#: Speech begins at this probability and goes on until it stays below the second one for `_MIN_SILENCE` seconds.
_BEGIN, _END = 0.5, 0.35
_MIN_SILENCE = 0.4
#: Shorter speech is a click.
_MIN_SPEECH = 0.2
#: Kept on both sides, for quiet first and last sounds; twice this (0.16 s) is less than `_MIN_SILENCE`.
_PAD_SAMPLES = 5 * FRAME
#: After this many seconds it no longer matters where the model began to listen.
SETTLE_SECONDS = 2.0
#: Longer speech is cut at its quietest moment.
MAX_SECONDS = 60.0


@dataclass(frozen=True)
class Segment:
    """A stretch of speech.

    Attributes:
        start: seconds on the clock of the sound it was found in.
        audio: float32 ``[S]``, 16 kHz mono.
    """

    start: float
    audio: Audio

    @property
    def span(self) -> Span:
        """When it is heard."""
        return Span.of(self.start, self.start + len(self.audio) / SAMPLE_RATE)

    def cut(self, span: Span) -> Audio:
        """The sound of ``span``, which lies inside."""
        return self.audio[round((span.start - self.start) * SAMPLE_RATE) : round((span.end - self.start) * SAMPLE_RATE)]


class VoiceActivity:
    """The packaged silero-vad model; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: Any = None

    def segments(self, chunks: Iterable[Audio], start: float = 0.0, *, until: float = math.inf) -> Iterator[Segment]:
        """The speech in a stream of sound, in order of time; holds one segment in memory.

        Args:
            chunks: consecutive pieces of any length, float32 ``[S]``, 16 kHz mono.
            start: second at which the first chunk begins.
            until: reading stops when no speech is open any more that began before this second.
        """
        stream = _Stream(self._session())
        runs = _Runs()
        kept = np.zeros(0, np.float32)
        kept_from = 0
        for chunk in _ended(chunks):
            if chunk is not None:
                kept = np.concatenate([kept, chunk])
            probabilities = stream.feed(chunk)
            closed = [run for value in probabilities if (run := runs.add(float(value)))]
            if chunk is None and (last := runs.finish()):
                closed.append(last)
            for first, end in closed:
                left, right = max(first - kept_from, 0), end - kept_from
                yield Segment(start + (kept_from + left) / SAMPLE_RATE, kept[left:right].copy())
            done = min(max(runs.needed_from - kept_from, 0), len(kept))
            kept, kept_from = kept[done:], kept_from + done
            if start + min(runs.needed_from, kept_from + len(kept)) / SAMPLE_RATE >= until:
                return

    def pauses(self, audio: Audio) -> bool:
        """Whether there is a pause in ``audio`` once the model has settled."""
        quiet = 0
        for value in self.probabilities(audio)[round(SETTLE_SECONDS * SAMPLE_RATE / FRAME) :]:
            quiet = quiet + 1 if value < _END else 0
            if quiet * FRAME >= _MIN_SILENCE * SAMPLE_RATE:
                return True
        return False

    def probabilities(self, audio: Audio) -> Audio:
        """Probability of speech for every 512 samples of ``audio``: float32 ``[ceil(S / 512)]``."""
        stream = _Stream(self._session())
        return np.concatenate([stream.feed(audio), stream.feed(None)])

    def _session(self) -> Any:
        with self._lock:
            if self._loaded is None:
                import onnxruntime

                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = options.inter_op_num_threads = 1
                providers = ["CPUExecutionProvider"]
                self._loaded = onnxruntime.InferenceSession(str(_model_file()), options, providers=providers)
            return self._loaded


class _Stream:
    """The model's state along one stream of sound."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._hidden = np.zeros(_STATE, np.float32)
        self._cell = np.zeros(_STATE, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)

    def feed(self, chunk: Audio | None) -> Audio:
        """Probabilities of the frames that ``chunk`` completes; None ends the stream and completes the last frame."""
        if chunk is None:
            chunk = np.zeros(-len(self._rest) % FRAME, np.float32)
        sound = np.concatenate([self._rest, chunk])
        count = len(sound) // FRAME
        self._rest = sound[count * FRAME :]
        if count == 0:
            return np.zeros(0, np.float32)
        frames = sound[: count * FRAME].reshape(count, FRAME)
        contexts = np.concatenate([self._context[None], frames[:-1, -_CONTEXT:]])
        self._context = frames[-1, -_CONTEXT:]
        values, self._hidden, self._cell = self._session.run(
            ["speech_probs", "hn", "cn"],
            {"input": np.concatenate([contexts, frames], axis=1), "h": self._hidden, "c": self._cell},
        )
        return np.asarray(values, np.float32)


class _Runs:
    """Turns probabilities into runs of speech, in samples, padded."""

    def __init__(self) -> None:
        self._frame = 0
        self._begin: int | None = None
        self._voiced = 0
        self._cut = False
        self._history: list[float] = []

    @property
    def needed_from(self) -> int:
        """First sample that a run may still ask for."""
        first = self._frame if self._begin is None else self._begin
        return max(0, first * FRAME - _PAD_SAMPLES)

    def add(self, probability: float) -> tuple[int, int] | None:
        """The run that this frame closes."""
        frame, self._frame = self._frame, self._frame + 1
        if self._begin is None:
            if probability < _BEGIN:
                return None
            self._begin, self._voiced, self._cut, self._history = frame, frame + 1, False, [probability]
            return None
        self._history.append(probability)
        if probability >= _END:
            self._voiced = frame + 1
        elif (frame + 1 - self._voiced) * FRAME >= _MIN_SILENCE * SAMPLE_RATE:
            return self.finish()
        if len(self._history) * FRAME >= MAX_SECONDS * SAMPLE_RATE:
            return self._split()
        return None

    def finish(self) -> tuple[int, int] | None:
        """The run that is still open, unless it is too short."""
        if self._begin is None:
            return None
        begin, self._begin = self._begin, None
        if not self._cut and (self._voiced - begin) * FRAME < _MIN_SPEECH * SAMPLE_RATE:
            return None
        return self._padded(begin), self._voiced * FRAME + _PAD_SAMPLES

    def _split(self) -> tuple[int, int]:
        begin = self._begin or 0
        half = len(self._history) // 2
        cut = half + int(np.argmin(self._history[half:]))
        run = self._padded(begin), (begin + cut) * FRAME
        self._begin, self._history, self._cut = begin + cut, self._history[cut:], True
        return run

    def _padded(self, begin: int) -> int:
        return begin * FRAME if self._cut else max(0, begin * FRAME - _PAD_SAMPLES)


def _ended(chunks: Iterable[Audio]) -> Iterator[Audio | None]:
    yield from chunks
    yield None


def _model_file() -> Path:
    # Looked up without importing the package, which would import torch.
    spec = find_spec("silero_vad")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise ToolUnavailable("the package silero-vad is not installed", remedy="install Loupe again")
    return Path(folders[0]) / "data" / "silero_vad_16k_sequence.onnx"
