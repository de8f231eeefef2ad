"""A cache bounded in bytes that computes each value once, however many threads ask."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Least recently used values up to ``capacity`` bytes; thread-safe.

    Args:
        capacity: bytes kept; a value larger than that is returned but not kept.
        size: bytes of a value.
    """

    def __init__(self, capacity: int, size: Callable[[V], int]) -> None:
        self._capacity = capacity
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[K, V] = OrderedDict()
        self._running: dict[K, Future[V]] = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def get(self, key: K, compute: Callable[[], V]) -> tuple[V, bool]:
        """The value of ``key`` and whether this call computed it.

        Threads that ask while another computes wait for its result, and get its error if it fails. Errors are not
        kept.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key], False
            future = self._running.get(key)
            if mine := future is None:
                future = self._running[key] = Future()
        if not mine:
            return future.result(), False
        try:
            value = compute()
        except BaseException as error:
            with self._lock:
                del self._running[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._running[key]
            self._keep(key, value)
        future.set_result(value)
        return value, True

    def clear(self) -> None:
        """Forgets all values."""
        with self._lock:
            self._values.clear()
            self._bytes = 0

    def _keep(self, key: K, value: V) -> None:
        size = self._size(value)
        if size > self._capacity:
            return
        self._values[key] = value
        self._bytes += size
        while self._bytes > self._capacity:
            _, oldest = self._values.popitem(last=False)
            self._bytes -= self._size(oldest)
