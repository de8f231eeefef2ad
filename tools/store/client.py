"""A store behind qdrant-client: a server, or the client's own local mode."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from tools.errors import StoreError, ToolUnavailable
from tools.store.points import INDEXES, WORDS, Filter
from tools.store.qdrant import RRF_K, Hit, Page, Part, Payloads, Point, QdrantStore, check_dims


class ClientStore(QdrantStore):
    """A collection reached through a client.

    Args:
        client: not used by anybody else.
        collection: its name; made if it is not there.
        place: where that is, in words.
        text_dim, visual_dim: lengths of the vectors.
        indexed: whether payload fields get indexes; local mode has none.
        lock: held during every call, for a client that is not safe to use from several threads.

    Raises:
        StoreError: the collection cannot be reached or holds vectors of another length.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        place: str,
        text_dim: int,
        visual_dim: int | None,
        *,
        indexed: bool,
        lock: Any = None,
    ) -> None:
        super().__init__(text_dim, visual_dim)
        self._client = client
        self._collection = collection
        self._place = place
        self._lock = lock
        self._closed = threading.Event()
        try:
            with self._reached():
                if not client.collection_exists(collection):
                    self._create(indexed)
                params = client.get_collection(collection).config.params
        except (StoreError, ToolUnavailable) as error:
            client.close()
            raise StoreError(error.message, remedy=error.remedy, field="store.url") from error
        held = params.vectors if isinstance(params.vectors, dict) else {}
        stored = {name: int(vector.size) for name, vector in held.items()}
        try:
            check_dims(stored, self._dims, f"the collection '{collection}' {place}")
        except StoreError:
            client.close()
            raise
        self._dims = stored

    def close(self) -> None:
        """Lets go of the connection; a second call does nothing."""
        if not self._closed.is_set():
            self._closed.set()
            self._client.close()

    def _create(self, indexed: bool) -> None:
        vectors = {
            name: models.VectorParams(size=size, distance=models.Distance.COSINE) for name, size in self._dims.items()
        }
        words = {WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)}
        try:
            self._client.create_collection(self._collection, vectors_config=vectors, sparse_vectors_config=words)
        except UnexpectedResponse as error:
            # Another process was quicker; its collection is checked like any other.
            if error.status_code != 409:
                raise
        for field, kind in INDEXES.items() if indexed else ():
            self._client.create_payload_index(
                self._collection, field, field_schema=models.PayloadSchemaType(kind), wait=True
            )

    def _write(self, batch: Sequence[Point]) -> None:
        made = [
            models.PointStruct(
                id=str(point.id),
                vector={name: _vector(vector) for name, vector in point.vectors.items()},
                payload=point.payload,
            )
            for point in batch
        ]
        with self._reached():
            self._client.upsert(self._collection, points=made, wait=True)

    def _search(self, parts: dict[str, Part], filter: Filter, depth: int, limit: int) -> Sequence[Hit]:
        confined = models.Filter.model_validate(filter)
        prefetch = [
            models.Prefetch(query=_vector(part), using=name, filter=confined, limit=depth)
            for name, part in parts.items()
        ]
        with self._reached():
            found = self._client.query_points(
                self._collection,
                query=models.RrfQuery(rrf=models.Rrf(k=RRF_K)),
                prefetch=prefetch,
                limit=limit,
                with_payload=False,
            )
        return found.points

    def _retrieve(self, ids: list[str]) -> Payloads:
        with self._reached():
            records = self._client.retrieve(self._collection, ids, with_payload=True)
        return [record.payload or {} for record in records]

    def _scroll(self, filter: Filter, limit: int, *, by_start: bool = False, offset: Any = None) -> Page:
        with self._reached():
            records, following = self._client.scroll(
                self._collection,
                scroll_filter=models.Filter.model_validate(filter),
                limit=limit,
                order_by="start" if by_start else None,
                offset=offset,
                with_payload=True,
            )
        return [record.payload or {} for record in records], following

    def _videos(self, filter: Filter) -> list[str]:
        with self._reached():
            limit = max(1, self._client.count(self._collection, exact=True).count)
            facet = self._client.facet(
                self._collection,
                "video_id",
                facet_filter=models.Filter.model_validate(filter),
                limit=limit,
                exact=True,
            )
        return [str(hit.value) for hit in facet.hits if hit.count > 0]

    def _count(self, filter: Filter) -> int:
        with self._reached():
            found = self._client.count(self._collection, models.Filter.model_validate(filter), exact=True)
        return int(found.count)

    def _delete(self, filter: Filter) -> None:
        with self._reached():
            selector = models.FilterSelector(filter=models.Filter.model_validate(filter))
            self._client.delete(self._collection, selector, wait=True)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """The client's errors as sentences: out of reach means that the tool does not answer, anything else that the
        store cannot be used so."""
        if self._closed.is_set():
            raise StoreError("the store is closed", remedy="open it again", field="store")
        if self._lock is not None:
            with self._lock:
                yield
            return
        try:
            yield
        except ResponseHandlingException as error:
            raise ToolUnavailable(
                f"the Qdrant server {self._place} does not answer ({error.source})",
                remedy="start it, or correct 'store.url' in the profile",
                field="store.url",
            ) from error
        except UnexpectedResponse as error:
            wrong_key = error.status_code in (401, 403)
            raise StoreError(
                f"the Qdrant server {self._place} refused a request ({error.status_code} {error.reason_phrase})",
                remedy="correct 'store.api_key' in the profile" if wrong_key else "look into the server's log",
                field="store.api_key" if wrong_key else "store.url",
            ) from error
        except ApiException as error:
            raise ToolUnavailable(
                f"the Qdrant server {self._place} failed ({error})",
                remedy="look into the server's log",
                field="store.url",
            ) from error


def _vector(vector: Part) -> Any:
    if isinstance(vector, tuple):
        return models.SparseVector(indices=vector[0], values=vector[1])
    return vector
