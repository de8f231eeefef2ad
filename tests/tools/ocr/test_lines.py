"""Reading order, clean text and boxes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.media.view import Region
from tools.ocr import TextLine
from tools.ocr.lines import box_region, clean, reading_order


def _line(text: str, x: float, y: float, height: float = 0.05) -> TextLine:
    return TextLine(text, Region.of(x, y, x + 0.2, y + height), 0.9)


def test_rows_from_the_top_each_from_the_left() -> None:
    lines = [_line("d", 0.5, 0.32), _line("b", 0.5, 0.1), _line("c", 0.1, 0.3), _line("a", 0.1, 0.11)]
    assert [line.text for line in reading_order(lines)] == ["a", "b", "c", "d"]


@given(st.permutations([_line(name, 0.1 * i % 0.7, 0.03 * i) for i, name in enumerate("abcdefghij")]))
def test_the_order_given_does_not_matter(lines: list[TextLine]) -> None:
    assert reading_order(lines) == reading_order(sorted(lines, key=lambda line: line.text))


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("  two   words ", "two words"),
        ("Total：１２", "Total:12"),
        ("你好，世界", "你好，世界"),
        ("--- ?", ""),
        ("", ""),
        ("a\tb\x00c", "a b c"),
    ],
)
def test_clean(raw: str, wanted: str) -> None:
    assert clean(raw) == wanted


def test_boxes_are_clipped_and_empty_ones_dropped() -> None:
    region = box_region([(-5, 10), (50, 8), (50, 30), (-5, 30)], 100, 40)
    assert region == Region.of(0, 0.2, 0.5, 0.75)
    assert box_region([(120, 10), (150, 10), (150, 30), (120, 30)], 100, 40) is None
