"""A Qdrant server or cluster, by its address."""

import math
from typing import Any

import httpx
from qdrant_client import QdrantClient

from tools.errors import StoreError
from tools.store.client import ClientStore
from tools.store.points import COLLECTION


class ServerStore(ClientStore):
    """A collection of a Qdrant server. Any number of processes may use it at once.

    Args:
        url: address of the REST interface, e.g. http://127.0.0.1:6333.
        text_dim, visual_dim: lengths of the vectors.
        api_key: if the server asks for one.
        collection: its name; made if it is not there.
        timeout: seconds after which a request is given up.

    Raises:
        StoreError: the server does not answer, refuses the key, or holds vectors of another length.
    """

    def __init__(
        self,
        url: str,
        text_dim: int,
        visual_dim: int | None,
        api_key: str | None = None,
        collection: str = COLLECTION,
        timeout: float = 30.0,
    ) -> None:
        try:
            client = QdrantClient(
                url=url, api_key=api_key or None, timeout=math.ceil(timeout), check_compatibility=False
            )
        except ValueError as error:
            raise StoreError(
                f"'{url}' is not the address of a Qdrant server ({error})",
                remedy="write one such as http://127.0.0.1:6333",
                field="store.url",
            ) from error
        super().__init__(client, collection, f"at {url}", text_dim, visual_dim, indexed=True)

    @classmethod
    def check(cls, url: str, api_key: str | None = None, **_: Any) -> str | None:
        """Whether a server answers there and takes the key: None, or what is wrong."""
        remedy = "start a Qdrant server there, or correct 'url' and 'api_key' under 'store'"
        try:
            reply = httpx.get(
                f"{url.rstrip('/')}/collections", headers={"api-key": api_key} if api_key else {}, timeout=3.0
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"no Qdrant server answers at {url} ({error}): {remedy}."
        return None if reply.is_success else f"{url} answers {reply.status_code} {reply.reason_phrase}: {remedy}."
