"""Joining calls changes no result and spoils no neighbour."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.batching import Call, can_batch, run_batch


class Rows:
    """Counts its calls; refuses rows with a negative number."""

    def __init__(self) -> None:
        self.calls = 0

    def texts(self, texts: list[str]) -> np.ndarray[Any, Any]:
        self.calls += 1
        if "bad" in texts:
            raise ValueError("bad")
        return np.array([[len(text), hash(text) % 97] for text in texts]).reshape(len(texts), 2)

    def images(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.calls += 1
        return images.reshape(len(images), -1).sum(axis=1, keepdims=True)

    def dims(self) -> int:
        return 2


class Many:
    """A model that takes several questions at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def look(self, frames: str, question: str, method: str | None = None) -> str:
        return f"{frames} {question} {method}"

    def look_many(self, requests: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[str]:
        self.sizes.append(len(requests))
        return [self.look(*args, **kwargs) for args, kwargs in requests]


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=6))
def test_joined_rows_equal_single_calls(requests: list[list[str]]) -> None:
    tool = Rows()
    outcomes = run_batch("embed", tool, [Call("texts", (texts,)) for texts in requests])
    assert tool.calls <= 1
    for texts, outcome in zip(requests, outcomes, strict=True):
        np.testing.assert_array_equal(outcome.value, Rows().texts(texts))


def test_a_bad_request_fails_alone() -> None:
    outcomes = run_batch("embed", Rows(), [Call("texts", (texts,)) for texts in (["a"], ["b", "bad"], ["c"])])
    assert [type(outcome.error) for outcome in outcomes] == [type(None), ValueError, type(None)]
    assert outcomes[2].value.shape == (1, 2)


def test_pictures_of_one_size_are_joined_and_others_are_not() -> None:
    tool = Rows()
    shapes = [(2, 4, 4, 3), (1, 8, 4, 3), (3, 4, 4, 3)]
    arrays = [np.full(shape, 2, np.uint8) for shape in shapes]
    outcomes = run_batch("embed", tool, [Call("images", (array,)) for array in arrays])
    assert tool.calls == 2
    for array, outcome in zip(arrays, outcomes, strict=True):
        np.testing.assert_array_equal(outcome.value, Rows().images(array))


def test_keyword_arguments_are_not_joined() -> None:
    tool = Rows()
    outcomes = run_batch("embed", tool, [Call("texts", (), {"texts": ["a"]}), Call("texts", (["b"],))])
    assert tool.calls == 2
    assert all(outcome.error is None for outcome in outcomes)


def test_a_method_with_many_beside_it_is_batched() -> None:
    tool = Many()
    calls = [Call("look", ("f", f"q{i}"), {"method": "m"} if i else {}) for i in range(3)]
    assert [outcome.value for outcome in run_batch("vlm", tool, calls)] == ["f q0 None", "f q1 m", "f q2 m"]
    assert tool.sizes == [3]


def test_an_error_among_the_results_is_that_call_s_own() -> None:
    class Picky(Many):
        def look_many(self, requests: list[Any]) -> list[Any]:
            self.sizes.append(len(requests))
            return [ValueError("no") if args[1] == "bad" else self.look(*args, **kwargs) for args, kwargs in requests]

    tool = Picky()
    outcomes = run_batch("vlm", tool, [Call("look", ("f", word)) for word in ("one", "bad", "two")])
    assert [outcome.value for outcome in outcomes] == ["f one None", None, "f two None"]
    assert [type(outcome.error) for outcome in outcomes] == [type(None), ValueError, type(None)]
    assert tool.sizes == [3], "nothing is run twice"


def test_a_batch_of_the_wrong_length_falls_back_to_single_calls() -> None:
    class Short(Many):
        def look_many(self, requests: list[Any]) -> list[str]:
            return ["only one"]

    outcomes = run_batch("vlm", Short(), [Call("look", ("f", "q")), Call("look", ("g", "q"))])
    assert [outcome.value for outcome in outcomes] == ["f q None", "g q None"]


@pytest.mark.parametrize(
    ("name", "tool", "method", "expected"),
    [
        ("embed", Rows(), "texts", True),
        ("embed", Rows(), "dims", False),
        ("ocr", Rows(), "texts", False),
        ("vlm", Many(), "look", True),
        ("vlm", Rows(), "look", False),
    ],
)
def test_what_can_be_batched(name: str, tool: object, method: str, expected: bool) -> None:
    assert can_batch(name, tool, method) is expected
