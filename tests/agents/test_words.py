"""Comparing words: numbers, endings, misheard and misread words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.words import SAME, coverage, edit_distance, similarity, stem, text_similarity, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("forty two meters", "42 meters"),
        ("nineteen sixty nine", "1969"),
        ("nineteen twelve", "1912"),
        ("twenty twenty", "2020"),
        ("two thousand and twenty one", "2021"),
        ("seven hundred and five", "705"),
        ("two three four", "2 3 4"),
        ("no one knows", "no one knows"),
        ("salt and pepper", "salt and pepper"),
        ("1,200 people", "1200 people"),
        ("three million", "3000000"),
        ("The captain's Café", "the captain cafe"),
        ("3.5 degrees", "3.5 degrees"),
    ],
)
def test_tokens_spell_numbers_as_digits(text: str, expected: str) -> None:
    assert " ".join(tokens(text)) == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("depth", "deep"),
        ("glacier", "glaciers"),
        ("artemis", "artemus"),
        ("houston", "huston"),
        ("harbor", "harbour"),
        ("melting", "melted"),
        ("cities", "city"),
        ("faces", "face"),
        ("boxes", "box"),
        ("lighthouse", "lighthouses"),
        ("professor", "profesor"),
    ],
)
def test_the_same_word_in_other_letters(a: str, b: str) -> None:
    assert similarity(a, b) >= SAME


@pytest.mark.parametrize(
    ("a", "b"),
    [("lake", "like"), ("42", "43"), ("1969", "1968"), ("mars", "cars"), ("whale", "while"), ("bread", "broad")],
)
def test_other_words(a: str, b: str) -> None:
    assert similarity(a, b) < SAME + 0.02


@given(st.text("abcdefgh", max_size=12), st.text("abcdefgh", max_size=12))
def test_edit_distance_is_a_metric_up_to_its_limit(a: str, b: str) -> None:
    def slow(x: str, y: str) -> int:
        if not x or not y:
            return len(x) + len(y)
        return min(slow_cached(x[1:], y) + 1, slow_cached(x, y[1:]) + 1, slow_cached(x[1:], y[1:]) + (x[0] != y[0]))

    cache: dict[tuple[str, str], int] = {}

    def slow_cached(x: str, y: str) -> int:
        if (x, y) not in cache:
            cache[x, y] = slow(x, y)
        return cache[x, y]

    assert edit_distance(a, b, 99) == slow_cached(a, b)
    assert edit_distance(a, b, 2) == min(3, slow_cached(a, b))


@given(st.text("abcdefgh0123456789 ", max_size=20), st.text("abcdefgh0123456789 ", max_size=20))
def test_similarities_are_symmetric_and_bounded(a: str, b: str) -> None:
    assert 0 <= text_similarity(a, b) <= 1
    assert text_similarity(a, a) == 1
    for x, y in zip(tokens(a), tokens(b), strict=False):
        assert similarity(x, y) == similarity(y, x)
    assert 0 <= coverage(tokens(a), b) <= 1


def test_words_heard_as_two_are_found() -> None:
    assert coverage(("lighthouse",), "we reach the light house") > 0.9


def test_stems_keep_three_letters() -> None:
    assert [stem(word) for word in ("is", "seas", "running", "was")] == ["is", "sea", "run", "was"]
