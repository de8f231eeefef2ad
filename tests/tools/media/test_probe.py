"""What is known about a file before anything is decoded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.errors import LoupeError, MediaError, NotFound
from tools.media.probe import probe
from tools.media.span import Span

STEADY = list(range(0, 2000, 40))


def test_facts_of_a_plain_video(make_video: Callable[..., Path]) -> None:
    info = probe(make_video(STEADY, tone=(0, 2)))
    assert info.span.start == pytest.approx(0, abs=0.1)
    assert info.span.end == pytest.approx(2, abs=0.1)
    assert (info.width, info.height, info.rotation) == (160, 96, 0)
    assert info.fps == pytest.approx(25, abs=1)
    assert (info.video_codec, info.audio_codec, info.subtitle_codec) == ("h264", "aac", None)
    assert info.warnings == ()


def test_variable_rate_and_a_start_behind_zero(make_video: Callable[..., Path]) -> None:
    info = probe(make_video([3000, 3100, 3150, 4000, 7000], name="late.mkv", bframes=0))
    assert info.span.start == pytest.approx(3, abs=0.002)
    assert info.span.end == pytest.approx(7, abs=0.2)


@pytest.mark.parametrize("name", ["v.ts", "v.mkv", "v.avi", "v.mov"])
def test_ends_in_other_formats(name: str, make_video: Callable[..., Path]) -> None:
    info = probe(make_video(STEADY, name=name, codec="mpeg4" if name == "v.avi" else "libx264"))
    assert info.duration == pytest.approx(2, abs=0.09)


@pytest.mark.parametrize(("rotation", "size"), [(90, (96, 160)), (180, (160, 96)), (270, (96, 160))])
def test_displayed_size_follows_the_rotation(
    rotation: int, size: tuple[int, int], make_video: Callable[..., Path]
) -> None:
    info = probe(make_video(STEADY[:3], name="v.mov", rotation=rotation))
    assert info.rotation == rotation
    assert (info.width, info.height) == size


def test_sound_only(make_video: Callable[..., Path]) -> None:
    info = probe(make_video([], name="sound.m4a", tone=(0, 1.5)))
    assert (info.width, info.height, info.fps, info.video_codec) == (0, 0, 0, None)
    assert info.audio_codec == "aac"
    assert info.duration == pytest.approx(1.5, abs=0.15)


def test_the_span_covers_sound_that_outlasts_the_pictures(make_video: Callable[..., Path]) -> None:
    assert probe(make_video(STEADY, tone=(0, 5))).span.end == pytest.approx(5, abs=0.15)


def test_a_single_picture_lasts_a_moment(make_video: Callable[..., Path]) -> None:
    info = probe(make_video([0]))
    assert 0 < info.duration < 0.5


def test_a_truncated_file_tells_where_it_really_ends(make_video: Callable[..., Path]) -> None:
    path = make_video(list(range(0, 20_000, 40)), name="v.mkv")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    info = probe(path)
    assert 5 < info.span.end < 15
    assert any("headers promise" in warning for warning in info.warnings)


def _text(path: Path) -> None:
    path.write_text("this is no film\n" * 200)


def _playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.ts\n#EXT-X-ENDLIST\n")


def _concat(path: Path) -> None:
    path.write_text("ffconcat version 1.0\nfile 'other.mp4'\n")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda path: path.write_bytes(b""), MediaError),
        (_text, MediaError),
        (_playlist, MediaError),
        (_concat, MediaError),
        (lambda path: path.mkdir(), MediaError),
        (lambda path: path.write_bytes(bytes(100_000)), MediaError),
        (lambda path: None, NotFound),
    ],
    ids=["zero bytes", "text", "playlist", "concat script", "directory", "zeros", "missing"],
)
def test_what_is_no_media_is_one_clear_error(
    spoil: Callable[[Path], None], kind: type[LoupeError], tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    shutil.copy(make_video(STEADY[:3], name="good.mp4"), tmp_path / "other.mp4")
    shutil.copy(make_video(STEADY[:3], name="good.ts"), tmp_path / "other.ts")
    path = tmp_path / "bad.mp4"
    spoil(path)
    with pytest.raises(kind) as caught:
        probe(path)
    assert type(caught.value) is kind
    assert "bad.mp4" in caught.value.message
    assert caught.value.field == "path"
    assert caught.value.remedy


def test_a_file_that_may_not_be_read(make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(STEADY[:3])

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # The tests may run as a user who is allowed everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MediaError, match="may not be read"):
        probe(path)


def test_a_header_cut_short(make_video: Callable[..., Path]) -> None:
    path = make_video(STEADY)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(MediaError):
        probe(path)


def test_the_larger_of_two_video_streams(shared_data: Path) -> None:
    info = probe(shared_data / "nasa_13013.mp4")
    assert (info.width, info.height) == (480, 270)
    assert info.fps == pytest.approx(29.97, abs=0.01)
    assert (info.audio_codec, info.subtitle_codec) == ("aac", "mov_text")
    assert info.span == Span.of(0, 13.056)


@pytest.mark.parametrize(
    ("name", "rotation", "size"),
    [
        ("video_0.mov", 0, (568, 320)),
        ("video_90.mov", 90, (320, 568)),
        ("video_180.mov", 180, (568, 320)),
        ("video_270.mov", 270, (320, 568)),
        ("av1_video.mkv", 0, (640, 360)),
        ("unordered.mov", 0, (50, 50)),
    ],
)
def test_real_files(name: str, rotation: int, size: tuple[int, int], shared_data: Path) -> None:
    info = probe(shared_data / name)
    assert (info.rotation, info.width, info.height) == (rotation, *size)
