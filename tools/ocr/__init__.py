"""On-screen text: what is written, where, from when to when."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.media.span import Span
from tools.media.view import Region
from tools.registry import Registry


@dataclass(frozen=True)
class TextLine:
    """A line of text in one picture; ``region`` in fractions of that picture, ``score`` 0..1."""

    text: str
    region: Region
    score: float


@dataclass(frozen=True)
class TextTrack:
    """A line of text that stays on screen: the same words in about the same place, first seen to last seen."""

    text: str
    region: Region
    span: Span
    score: float


class OcrBackend(ABC):
    """A text recogniser, safe to call from several threads at once."""

    #: What evidence names as its model.
    model: str

    @abstractmethod
    def read(self, image: npt.NDArray[np.uint8]) -> list[TextLine]:
        """Lines of ``image`` (uint8 ``[H, W, 3]`` RGB) in reading order; a blank picture gives none."""


BACKENDS: Registry[OcrBackend] = Registry("tools.ocr.backends", OcrBackend, "OCR backend")  # type: ignore[type-abstract]
