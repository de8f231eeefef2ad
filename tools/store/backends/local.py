"""The local mode of qdrant-client: written in Python, in memory, apart from the engine. A reference for tests."""

import threading

from qdrant_client import QdrantClient

from tools.store.client import ClientStore
from tools.store.points import COLLECTION


class LocalStore(ClientStore):
    """A store that is gone when it is closed; slow from ten thousand clips on.

    Args:
        text_dim, visual_dim: lengths of the vectors.
    """

    def __init__(self, text_dim: int, visual_dim: int | None) -> None:
        client = QdrantClient(location=":memory:")
        super().__init__(client, COLLECTION, "in memory", text_dim, visual_dim, indexed=False, lock=threading.RLock())
