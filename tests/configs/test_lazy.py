"""Tools that wait for their first call."""

import threading
import time

import pytest

from configs.lazy import Lazy


class Tool:
    """Counts how often it is made and closed."""

    made = 0

    def __init__(self) -> None:
        time.sleep(0.02)
        type(self).made += 1
        self.closed = 0

    @property
    def model(self) -> str:
        return "m"

    def add(self, a: int, *, b: int = 1) -> int:
        return a + b

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def kind() -> type[Tool]:
    return type("Fresh", (Tool,), {"made": 0})


def test_nothing_is_built_until_a_method_is_called(kind: type[Tool]) -> None:
    lazy = Lazy(lambda: kind, kind)
    method = lazy.add
    assert not lazy.built
    assert kind.made == 0
    assert method(1, b=4) == 5
    assert lazy.add(1) == 2
    assert lazy.built
    assert kind.made == 1


def test_a_property_builds(kind: type[Tool]) -> None:
    assert Lazy(lambda: kind, kind).model == "m"


def test_an_unknown_name_is_an_attribute_error(kind: type[Tool]) -> None:
    with pytest.raises(AttributeError, match="ad"):
        _ = Lazy(lambda: kind, kind).ad


def test_many_threads_build_once(kind: type[Tool]) -> None:
    lazy = Lazy(lambda: kind, kind)
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(lazy.add(1))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2] * 16
    assert kind.made == 1


def test_a_failure_is_told_and_tried_again(kind: type[Tool]) -> None:
    attempts = []

    def build() -> Tool:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("not yet")
        return kind()

    lazy = Lazy(lambda: kind, build)
    with pytest.raises(RuntimeError, match="not yet"):
        lazy.add(1)
    assert lazy.add(1) == 2


def test_closing_what_was_never_built_builds_nothing(kind: type[Tool]) -> None:
    lazy = Lazy(lambda: kind, kind)
    lazy.close()
    assert kind.made == 0
    lazy.add(1)
    lazy.close()
    assert lazy.closed == 1
