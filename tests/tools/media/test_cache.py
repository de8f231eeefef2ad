"""The cache computes once and stays within its bytes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.media.cache import ByteCache


def test_threads_that_ask_together_compute_once() -> None:
    cache: ByteCache[str, bytes] = ByteCache(100, len)
    go, computed = threading.Barrier(8), []

    def ask(_: int) -> tuple[bytes, bool]:
        def compute() -> bytes:
            computed.append(1)
            return b"value"

        go.wait()
        return cache.get("key", compute)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, range(8)))
    assert len(computed) == 1
    assert [value for value, _ in results] == [b"value"] * 8
    assert sum(fresh for _, fresh in results) == 1


def test_errors_reach_everyone_who_waits_and_are_not_kept() -> None:
    cache: ByteCache[str, bytes] = ByteCache(100, len)
    entered, leave = threading.Event(), threading.Event()

    def fail() -> bytes:
        entered.set()
        leave.wait(10)
        raise OSError("disk")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "key", fail)
        entered.wait(10)
        second = pool.submit(cache.get, "key", lambda: b"other")
        leave.set()
        with pytest.raises(OSError, match="disk"):
            first.result()
        # The second either waited for the error or came when it was gone.
        error = second.exception()
        assert str(error) == "disk" if error else second.result()[0] == b"other"
    assert cache.get("key", lambda: b"fine") == ((b"fine", True) if error else (b"other", False))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 40)), max_size=40))
def test_never_more_than_its_bytes(requests: list[tuple[int, int]]) -> None:
    cache: ByteCache[tuple[int, int], bytes] = ByteCache(60, len)
    for request in requests:
        value, _ = cache.get(request, lambda size=request[1]: bytes(size))
        assert len(value) == request[1]
        assert cache.bytes <= 60
        assert cache.get(request, lambda: b"never computed")[1] is False
    cache.clear()
    assert cache.bytes == 0


def test_the_least_recently_used_goes_first_and_giants_are_not_kept() -> None:
    cache: ByteCache[str, bytes] = ByteCache(10, len)
    for key in "ab":
        cache.get(key, lambda: bytes(5))
    cache.get("a", lambda: b"")
    cache.get("c", lambda: bytes(5))
    assert cache.get("a", lambda: b"new")[1] is False
    assert cache.get("b", lambda: bytes(5))[1] is True
    assert cache.get("giant", lambda: bytes(11))[1] is True
    assert cache.get("giant", lambda: bytes(11))[1] is True
    assert cache.bytes <= 10
