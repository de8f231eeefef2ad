"""Speech to text: what is said, by words with their times."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tools.media.span import Span
from tools.registry import Registry

#: Samples a second of all audio that goes through Loupe.
SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Word:
    """One recognised word.

    Attributes:
        span: seconds; in a backend's result relative to the start of the audio that it was given.
        score: confidence, 0..1.
    """

    text: str
    span: Span
    score: float


@dataclass(frozen=True)
class Utterance:
    """Consecutive words between two pauses, on the video's own clock."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words with single spaces."""
        return " ".join(word.text for word in self.words)

    @property
    def span(self) -> Span:
        """From the first word's start to the last word's end."""
        return self.words[0].span.hull(self.words[-1].span)

    @property
    def score(self) -> float:
        """Mean confidence of the words, 0..1."""
        return sum(word.score for word in self.words) / len(self.words)


class AsrBackend(ABC):
    """A speech recogniser. It gets speech only (voice activity is detected before) and must be safe to call from
    several threads at once."""

    #: What evidence names as its model, e.g. "pocketsphinx-en-us".
    model: str
    #: Longest audio in seconds that one call takes well.
    max_seconds: ClassVar[float] = 30.0
    #: How many calls at the same time are worth while.
    parallel: int = 1

    @abstractmethod
    def transcribe(self, audio: npt.NDArray[np.float32]) -> list[Word]:
        """Words of ``audio`` (float32 ``[S]``, 16 kHz mono, -1..1) in order of time; silence gives none."""

    def close(self) -> None:  # noqa: B027 (most backends hold nothing)
        """Gives back processes and memory; a later call takes them again."""


BACKENDS: Registry[AsrBackend] = Registry("tools.asr.backends", AsrBackend, "ASR backend")  # type: ignore[type-abstract]
