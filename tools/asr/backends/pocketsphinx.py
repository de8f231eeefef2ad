"""CMU PocketSphinx with the US English model that its wheel carries: no download, no GPU."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tools.asr import SAMPLE_RATE, AsrBackend, Word
from tools.asr.workers import WorkerPool
from tools.errors import ProfileError, did_you_mean
from tools.media.span import Span

#: The decoder's settings by the name of the search. "fast" keeps fewer hypotheses alive, which costs some words;
#: `evals/bench/asr.py` measures both.
_SEARCH: dict[str, dict[str, object]] = {
    "fast": {"cmn": "batch", "maxhmmpf": 1500, "maxwpf": 10},
    "full": {"cmn": "batch"},
}
#: Sound is brought to this root mean square, and its quietest moments to this one by adding noise: in digital silence,
#: as around synthetic speech, the normalisation of log energies breaks down and half of the words are lost.
_LEVEL, _FLOOR = 0.08, 0.001
#: Samples and share of the pieces by which the quietest moments are found.
_PIECE, _QUIET = 400, 0.05


class PocketSphinx(AsrBackend):
    """Recognises English.

    The decoder holds the interpreter's lock while it works, so each runs in a process of its own (`_sphinx_worker`).

    Args:
        search: "fast" or "full".
        workers: most decoders at a time, some 150 MB each; as many as the machine has cores by default, 8 at most.
    """

    model = "pocketsphinx-en-us"
    max_seconds = 20.0

    def __init__(self, *, search: str = "fast", workers: int | None = None) -> None:
        if find_spec("pocketsphinx") is None:
            raise ImportError("pocketsphinx is not installed", name="pocketsphinx")
        if search not in _SEARCH:
            raise ProfileError(f"there is no search '{search}'", remedy=did_you_mean(search, _SEARCH), field="search")
        if workers is not None and workers < 1:
            raise ProfileError(f"{workers} workers cannot work", remedy="give 1 or more", field="workers")
        self.parallel = workers or min(8, _cores())
        program = Path(__file__).with_name("_sphinx_worker.py")
        self._pool = WorkerPool(program, self.parallel, arguments=[json.dumps(_SEARCH[search])])

    def transcribe(self, audio: npt.NDArray[np.float32]) -> list[Word]:
        """Words with their times to 10 ms and their posterior probabilities as scores."""
        duration = len(audio) / SAMPLE_RATE
        level = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0
        if level < 1e-5:
            return []
        sound = _prepared(audio.astype(np.float64) * (_LEVEL / level))
        answer = self._pool.call((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
        words = []
        for text, start, end, score in json.loads(answer):
            span = Span.of(start, end).clamp(Span.of(0, duration))
            words.append(Word(text=text, span=span, score=score))
        return words

    def close(self) -> None:
        """Ends the worker processes."""
        self._pool.close()


def _cores() -> int:
    """Processor cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _prepared(sound: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sound with no moment quieter than `_FLOOR`."""
    pieces = sound[: len(sound) // _PIECE * _PIECE].reshape(-1, _PIECE)
    floor = float(np.quantile(np.sqrt(np.mean(pieces**2, axis=1)), _QUIET)) if len(pieces) else 0.0
    return sound + np.random.default_rng(0).normal(0, max(_FLOOR**2 - floor**2, 0.0) ** 0.5, len(sound))
