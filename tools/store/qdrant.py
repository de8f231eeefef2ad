"""What every Qdrant engine does alike: points, hybrid queries, order of time. Backends say how to reach the engine."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol
from uuid import UUID

from tools.errors import StoreError
from tools.evidence import Evidence, Scope
from tools.store import Clip, Query, Store, Vector, points, sparse
from tools.store.points import TEXT, VISUAL, WORDS, Filter

#: Constant of reciprocal rank fusion: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and
#: individual Rank Learning Methods", SIGIR 2009. Qdrant gives 1 / (RRF_K + rank) for each ranking, ranks from 0.
RRF_K = 60
#: Each ranking is fused down to this many times the clips that are asked for.
_DEPTH = 4
_MIN_DEPTH = 50
#: Points that are written, or read, in one request.
_BATCH = 512

Sparse = tuple[list[int], list[float]]
#: A vector of a part of a query, or of a point: dense, or sparse as dimensions and values.
Part = list[float] | Sparse
Payload = dict[str, Any]
#: Named here because `Store.list` hides the type of that name in the class below.
Payloads = list[Payload]
Page = tuple[list[Payload], Any]
Names = list[str]
Dense = list[float]


class Hit(Protocol):
    """A point that a search found."""

    @property
    def id(self) -> Any:
        """Its id; ``str`` of it is a UUID."""

    @property
    def score(self) -> float:
        """Its fused score."""


@dataclass(frozen=True)
class Point:
    """A clip as the engine takes it, with its vectors by name."""

    id: UUID
    vectors: dict[str, Part]
    payload: Payload


class QdrantStore(Store):
    """A store on any Qdrant engine.

    Args:
        text_dim: length of the text vectors.
        visual_dim: length of the visual vectors, or None where there are none.
    """

    def __init__(self, text_dim: int, visual_dim: int | None) -> None:
        self._dims = {TEXT: text_dim} | ({VISUAL: visual_dim} if visual_dim is not None else {})

    def upsert(self, clips: Sequence[Clip]) -> None:
        """Writes clips; when it returns they survive the end of the process, however it comes.

        Raises:
            ValueError: a vector of another length than the collection's.
            StoreError: the store is closed or its engine refuses.
        """
        # The last of several clips with one id wins, as if they had been written one after the other.
        made = {point.id: point for point in map(self._point, clips)}
        every = iter(made.values())
        while batch := list(islice(every, _BATCH)):
            self._write(batch)

    def query(self, query: Query) -> list[Evidence]:
        """The best clips, best first. The score is 1 for a clip that is first in every ranking.

        A query without any part gives the scope's clips in order of time with score 0; one whose words are all
        unknown to the index, and which has no vectors, gives none.
        """
        if query.limit < 1:
            return []
        parts: dict[str, Part] = {}
        for name, vector in ((TEXT, query.text_vector), (VISUAL, query.visual_vector)):
            if vector is not None:
                parts[name] = self._checked(name, vector)
        if query.text:
            bag = sparse.query(query.text)
            if bag[0]:
                parts[WORDS] = bag
            elif not parts:
                return []
        if not parts:
            return [clip.model_copy(update={"score": 0.0}) for clip in self.list(query.scope, query.limit)]
        depth = max(_MIN_DEPTH, _DEPTH * query.limit)
        # All fused ranks are fetched, for equal scores come in any order and must be cut in a fixed one.
        hits = self._search(parts, points.scope_filter(query.scope), depth, depth * len(parts))
        scores = sorted((hit.score for hit in hits), reverse=True)[: query.limit]
        contenders = [hit for hit in hits if hit.score >= scores[-1]]
        best = sorted((-round(hit.score * RRF_K / len(parts), 6), str(hit.id)) for hit in contenders)[: query.limit]
        found = self._retrieve([id for _, id in best])
        by_point = {str(points.point_id(payload["id"])): payload for payload in found}
        # A clip may be removed between the two requests.
        return [
            points.evidence(by_point[id]).model_copy(update={"score": min(1.0, -negative)})
            for negative, id in best
            if id in by_point
        ]

    def list(self, scope: Scope, limit: int = 1000) -> list[Evidence]:
        """Clips in the scope in order of (video, start, end, id), the first ``limit`` of them."""
        return list(islice(self._in_order(scope), max(limit, 0)))

    def count(self, scope: Scope | None = None) -> int:
        """How many clips the scope holds; all without one."""
        return self._count(points.scope_filter(scope or Scope()))

    def delete_video(self, video_id: str) -> int:
        """Removes a video's clips and says how many there were."""
        filter = points.scope_filter(Scope(video_ids=(video_id,)))
        count = self._count(filter)
        if count:
            self._delete(filter)
        return count

    @abstractmethod
    def _write(self, batch: Sequence[Point]) -> None:
        """Writes points and waits until they are safe."""

    @abstractmethod
    def _search(self, parts: dict[str, Part], filter: Filter, depth: int, limit: int) -> Sequence[Hit]:
        """Reciprocal rank fusion of the rankings by each part, each confined to ``filter`` and ``depth`` long."""

    @abstractmethod
    def _retrieve(self, ids: Names) -> Payloads:
        """Payloads of the points with these ids, in any order; ids that are not there are left out."""

    @abstractmethod
    def _scroll(self, filter: Filter, limit: int, *, by_start: bool = False, offset: Any = None) -> Page:
        """Payloads and where the next page begins (None at the end); ``by_start`` orders and allows no offset."""

    @abstractmethod
    def _videos(self, filter: Filter) -> Names:
        """Ids of all videos that have points behind ``filter``, in any order."""

    @abstractmethod
    def _count(self, filter: Filter) -> int:
        """How many points are behind ``filter``, exactly."""

    @abstractmethod
    def _delete(self, filter: Filter) -> None:
        """Removes the points behind ``filter`` and waits until that is safe."""

    def _point(self, clip: Clip) -> Point:
        vectors: dict[str, Part] = {}
        for name, vector in ((TEXT, clip.text_vector), (VISUAL, clip.visual_vector)):
            if vector is not None:
                vectors[name] = self._checked(name, vector)
        bag = sparse.document(clip.evidence.text)
        if bag[0]:
            vectors[WORDS] = bag
        return Point(points.point_id(clip.evidence.id), vectors, points.payload(clip.evidence))

    def _checked(self, name: str, vector: Vector) -> Dense:
        size = self._dims.get(name)
        if size is None:
            raise ValueError(f"this store holds no {name} vectors")
        if vector.shape != (size,):
            raise ValueError(f"a {name} vector of this store has shape ({size},), not {vector.shape}")
        values: Dense = vector.tolist()
        return values

    def _in_order(self, scope: Scope) -> Iterator[Evidence]:
        filter = points.scope_filter(scope)
        for video in sorted(set(scope.video_ids) or self._videos(filter)):
            yield from self._video_in_order(points.both(filter, {"key": "video_id", "match": {"any": [video]}}))

    def _video_in_order(self, filter: Filter) -> Iterator[Evidence]:
        """Pages by start. A page may end amid clips that start together; those are read whole and sorted here."""
        after = filter
        while True:
            page, _ = self._scroll(after, _BATCH, by_start=True)
            full = len(page) == _BATCH
            last = page[-1]["start"] if full else None
            found = [points.evidence(payload) for payload in page if payload["start"] != last]
            if full:
                together = points.both(filter, {"key": "start", "range": {"gte": last, "lte": last}})
                found += [points.evidence(payload) for payload in self._everything(together)]
            yield from sorted(found, key=_in_time)
            if not full:
                return
            after = points.both(filter, {"key": "start", "range": {"gt": last}})

    def _everything(self, filter: Filter) -> Iterator[Payload]:
        offset = None
        while True:
            page, offset = self._scroll(filter, _BATCH, offset=offset)
            yield from page
            if offset is None:
                return


def check_dims(stored: dict[str, int], wanted: dict[str, int], place: str) -> None:
    """Refuses a collection whose vectors have another length than the profile's embedders make.

    Args:
        stored, wanted: vector name to length; a collection may hold vectors that the profile does not use.
        place: the collection in words.

    Raises:
        StoreError: naming both lengths; ``field`` is the profile section of the embedder.
    """
    for name, size in wanted.items():
        if stored.get(name) != size:
            held = f"{name} vectors of length {stored[name]}" if name in stored else f"no {name} vectors"
            raise StoreError(
                f"{place} holds {held}, but this profile's {name} embedding makes vectors of length {size}",
                remedy="choose the embedding it was made with, or index the videos again into another LOUPE_HOME",
                field=f"{name}_embedding",
            )


def _in_time(clip: Evidence) -> tuple[str, float, float, str]:
    return clip.video_id, clip.span.start, clip.span.end, clip.id
