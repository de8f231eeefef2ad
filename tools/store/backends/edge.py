"""Qdrant Edge: Qdrant's own engine inside this process, on disk. One process at a time holds a store."""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import portalocker
import psutil
import qdrant_edge as edge

from tools.errors import StoreError
from tools.store.points import INDEXES, WORDS, Filter
from tools.store.qdrant import RRF_K, Hit, Page, Part, Payloads, Point, QdrantStore, check_dims

#: Points after which the engine is told to put its state to disk, so that little is replayed at the next opening.
_FLUSH_EVERY = 20_000
#: Share of points removed above which their space is taken back.
_COMPACT_ABOVE = 0.2
# The stub of the library declares the members of Fusion as unrelated classes.
_FUSION: Any = edge.Fusion.Rrf(k=RRF_K)


class EdgeStore(QdrantStore):
    """A store in a folder.

    Every write goes through the engine's write-ahead log, so what `upsert` has returned from survives a killed process.
    Vectors are compared one by one within the filter: exact, and quick up to some hundred thousand clips.

    Args:
        path: folder of the store; made if it is not there.
        text_dim, visual_dim: lengths of the vectors.

    Raises:
        StoreError: another process holds the folder, it holds vectors of another length, or it cannot be read.
    """

    def __init__(self, path: str | Path, text_dim: int, visual_dim: int | None) -> None:
        super().__init__(text_dim, visual_dim)
        self._path = Path(path).expanduser().absolute()
        self._lock = threading.RLock()
        self._unflushed = 0
        self._closed = False
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._holder = _hold(self._path)
        except OSError as error:
            raise StoreError(
                f"the store folder '{self._path}' cannot be used ({error.strerror})",
                remedy="choose a folder that this user may write to",
                field="store.path",
            ) from error
        try:
            self._shard = self._open()
        except BaseException:
            _release(self._holder)
            raise

    def close(self) -> None:
        """Flushes and lets go of the folder; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._shard.close()
            _release(self._holder)

    def _open(self) -> Any:
        place, about = self._path / "clips", self._path / "clips.json"
        if not place.exists():
            self._create(place, about)
        try:
            stored = json.loads(about.read_text("utf-8"))
            check_dims(stored, self._dims, f"the store in '{self._path}'")
            # The collection's own vectors count from here on: it may hold visual ones that this profile does not make.
            self._dims = stored
            with self._refused():
                return edge.EdgeShard.load(str(place))
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the store in '{self._path}' is damaged ({error})",
                remedy="remove the folder and index the videos again",
                field="store.path",
            ) from error

    def _create(self, place: Path, about: Path) -> None:
        # Made aside and renamed, so that a crash in between leaves no half of a store.
        fresh = place.with_name("clips.new")
        shutil.rmtree(fresh, ignore_errors=True)
        config = edge.EdgeConfig(
            vectors={
                name: edge.EdgeVectorParams(size=size, distance=edge.Distance.Cosine)
                for name, size in self._dims.items()
            },
            sparse_vectors={WORDS: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            # No graph index: building one takes minutes on a small machine, and filtered scans are quick without.
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=2**40, deleted_threshold=_COMPACT_ABOVE),
        )
        shard = edge.EdgeShard.create(str(fresh), config)
        for field, kind in INDEXES.items():
            schema = edge.PayloadSchemaType.Keyword if kind == "keyword" else edge.PayloadSchemaType.Float
            shard.update(edge.UpdateOperation.create_field_index(field, schema))
        shard.flush()
        shard.close()
        partial = about.with_name("clips.json.new")
        partial.write_text(json.dumps(self._dims), "utf-8")
        partial.replace(about)
        fresh.rename(place)

    def _write(self, batch: Sequence[Point]) -> None:
        made = [
            edge.Point(
                point.id,
                {
                    name: edge.SparseVector(*vector) if isinstance(vector, tuple) else vector
                    for name, vector in point.vectors.items()
                },
                point.payload,
            )
            for point in batch
        ]
        with self._lock, self._refused():
            self._shard.update(edge.UpdateOperation.upsert_points(made))
            self._unflushed += len(made)
            if self._unflushed >= _FLUSH_EVERY:
                self._shard.flush()
                self._unflushed = 0

    def _search(self, parts: dict[str, Part], filter: Filter, depth: int, limit: int) -> Sequence[Hit]:
        confined = _filter(filter)
        prefetches = [
            edge.Prefetch(
                limit=depth,
                query=edge.Query.Nearest(edge.SparseVector(*part) if isinstance(part, tuple) else part, name),
                filter=confined,
            )
            for name, part in parts.items()
        ]
        request = edge.QueryRequest(limit=limit, query=_FUSION, prefetches=prefetches)
        with self._refused():
            hits: list[Hit] = self._shard.query(request)
            return hits

    def _retrieve(self, ids: list[str]) -> Payloads:
        with self._refused():
            return [record.payload for record in self._shard.retrieve(ids, with_payload=True, with_vector=False)]

    def _scroll(self, filter: Filter, limit: int, *, by_start: bool = False, offset: Any = None) -> Page:
        request = edge.ScrollRequest(
            limit=limit,
            filter=_filter(filter),
            with_payload=True,
            offset=offset,
            order_by=edge.OrderBy("start") if by_start else None,
        )
        with self._refused():
            records, following = self._shard.scroll(request)
        return [record.payload for record in records], following

    def _videos(self, filter: Filter) -> list[str]:
        with self._refused():
            limit = max(1, self._shard.count(edge.CountRequest(exact=True)))
            request = edge.FacetRequest("video_id", limit=limit, exact=True, filter=_filter(filter))
            return [str(hit.value) for hit in self._shard.facet(request).hits if hit.count > 0]

    def _count(self, filter: Filter) -> int:
        with self._refused():
            return int(self._shard.count(edge.CountRequest(exact=True, filter=_filter(filter))))

    def _delete(self, filter: Filter) -> None:
        with self._lock, self._refused():
            self._shard.update(edge.UpdateOperation.delete_points_by_filter(_filter(filter)))
            self._shard.optimize()
            self._shard.flush()
            self._unflushed = 0

    @contextmanager
    def _refused(self) -> Iterator[None]:
        """The engine raises bare `Exception` for everything, never a class derived from it."""
        try:
            yield
        except Exception as error:
            if type(error) is not Exception:
                raise
            if self._closed:
                raise StoreError("the store is closed", remedy="open it again", field="store") from error
            raise StoreError(
                f"the engine of the store in '{self._path}' failed ({error})",
                remedy="check the disk's space; if that does not help, remove the folder and index the videos again",
                field="store.path",
            ) from error


def _filter(filter: Filter) -> Any:
    return edge.Filter(must=[_condition(condition) for condition in filter["must"]])


def _condition(condition: dict[str, Any]) -> Any:
    if "should" in condition:
        return edge.Filter(should=[_condition(each) for each in condition["should"]])
    if "match" in condition:
        return edge.FieldCondition(condition["key"], match=edge.MatchAny(condition["match"]["any"]))
    return edge.FieldCondition(condition["key"], range=edge.RangeFloat(**condition["range"]))


def _hold(path: Path) -> Any:
    """Takes the folder's lock, which the operating system gives back when the process ends, however it ends."""
    file = (path / "lock").open("a+", encoding="utf-8")
    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.exceptions.LockException as error:
        file.seek(0)
        holder = _describe(file.read())
        file.close()
        raise StoreError(
            f"the store in '{path}' is held by {holder}",
            remedy="ask the running service instead, stop that process, or set another LOUPE_HOME",
            field="store.path",
        ) from error
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "nonce": uuid.uuid4().hex}))
    file.flush()
    return file


def _release(file: Any) -> None:
    file.truncate(0)
    portalocker.unlock(file)
    file.close()


def _describe(note: str) -> str:
    try:
        pid = int(json.loads(note)["pid"])
        if pid == os.getpid():
            return "this process, which has it open already"
        command = " ".join(psutil.Process(pid).cmdline())
    except (ValueError, KeyError, TypeError, psutil.Error):
        return "another process"
    return f"process {pid} ({command[:80]})" if command else f"process {pid}"
