"""Subtitle tracks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.media.subtitles import _plain, read_subtitles


def test_a_real_track(shared_data: Path) -> None:
    subtitles = read_subtitles(shared_data / "nasa_13013.mp4")
    assert len(subtitles) == 4
    assert "optical and science segment of the Webb" in subtitles[0].text
    assert subtitles[0].span.start == pytest.approx(0.21)
    assert subtitles[0].span.end == pytest.approx(4.26)
    assert subtitles == sorted(subtitles, key=lambda subtitle: subtitle.span.start)


def test_no_track(make_video: Callable[..., Path]) -> None:
    assert read_subtitles(make_video([0, 40])) == []


def test_styling_is_taken_out() -> None:
    class Part:
        dialogue = rb"{\an8}<i>Hello</i>\N  there\h{\b1}you"
        text = b""

    assert _plain(Part()) == "Hello\nthere you"  # type: ignore[arg-type]
