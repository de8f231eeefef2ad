"""The clip store: one Qdrant collection of everything that the index knows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tools.evidence import Evidence, Scope
from tools.registry import Registry

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """One point of the collection: evidence with its vectors. The point's id is the evidence's id."""

    evidence: Evidence
    text_vector: Vector | None = None
    visual_vector: Vector | None = None


@dataclass(frozen=True)
class Query:
    """A hybrid query; each part that is given ranks clips, and the rankings are fused.

    Attributes:
        text: exact words, for the sparse vectors.
        text_vector, visual_vector: unit vectors ``[D]`` for the dense ones.
        scope: videos, span and kinds to which results are confined.
        limit: how many clips to return.
    """

    text: str = ""
    text_vector: Vector | None = None
    visual_vector: Vector | None = None
    scope: Scope = field(default_factory=Scope)
    limit: int = 10


class Store(ABC):
    """The clips of many videos. Safe to call from several threads at once."""

    @abstractmethod
    def upsert(self, clips: Sequence[Clip]) -> None:
        """Writes clips; one with a known id replaces it, so indexing twice changes nothing."""

    @abstractmethod
    def query(self, query: Query) -> list[Evidence]:
        """The best clips by reciprocal rank fusion, best first; ``score`` is the fused score, 0..1 and not rising."""

    @abstractmethod
    def list(self, scope: Scope, limit: int = 1000) -> list[Evidence]:
        """Clips in the scope in order of (video, start, end, id)."""

    @abstractmethod
    def count(self, scope: Scope | None = None) -> int:
        """How many clips the scope holds; all without one."""

    @abstractmethod
    def delete_video(self, video_id: str) -> int:
        """Removes a video's clips and says how many there were."""

    @abstractmethod
    def close(self) -> None:
        """Flushes and lets go of the files; a closed store must not be used."""


BACKENDS: Registry[Store] = Registry("tools.store.backends", Store, "store")  # type: ignore[type-abstract]
