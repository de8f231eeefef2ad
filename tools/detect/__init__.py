"""Detection: which things are visible, where, from when to when."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tools.media.frames import Frames
from tools.media.span import Span
from tools.media.view import Region
from tools.registry import Registry


@dataclass(frozen=True)
class Detection:
    """A thing in one picture; ``index`` is the frame's place in the batch, ``region`` in fractions of the picture.

    ``attributes`` are words that the detector can say about it beyond its label, e.g. its colour.
    """

    index: int
    label: str
    region: Region
    score: float
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ObjectTrack:
    """A thing followed over time: the hull of its boxes, first seen to last seen, its best score."""

    label: str
    region: Region
    span: Span
    score: float
    attributes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The label with its attributes before it, e.g. "red moving object"."""
        return " ".join((*self.attributes, self.label))


class DetectBackend(ABC):
    """A detector, safe to call from several threads at once."""

    #: What evidence names as its model.
    model: str
    #: Every attribute that its detections may carry.
    attributes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def labels(self) -> tuple[str, ...] | None:
        """The labels it knows, or None for an open vocabulary."""

    @abstractmethod
    def detect(self, frames: Frames, labels: Sequence[str]) -> list[Detection]:
        """Things in ``frames`` whose label is asked for; no labels means all that the detector knows."""


BACKENDS: Registry[DetectBackend] = Registry("tools.detect.backends", DetectBackend, "detector")  # type: ignore[type-abstract]
