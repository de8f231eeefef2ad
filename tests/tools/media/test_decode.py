"""The picture on screen at t is exactly the right one, and little more is decoded."""

import bisect
import logging
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tools.errors import BadInput, MediaError, NotFound
from tools.media.decode import read_frames
from tools.media.view import Region

STEADY = list(range(0, 8000, 40))
#: Variable rate that does not start at zero: bursts, long stills, odd steps.
_steps = random.Random(5)
VARIABLE = [1500]
while len(VARIABLE) < 200:
    VARIABLE.append(VARIABLE[-1] + _steps.choice([7, 20, 33, 40, 41, 150, 900]))

FILES = {
    "b-frames": {"stamps": STEADY, "gop": 50, "bframes": 3},
    "b-frames mkv": {"stamps": STEADY, "name": "v.mkv", "gop": 50, "bframes": 3},
    "open groups": {"stamps": STEADY, "gop": 12, "options": {"x264-params": "open-gop=1"}},
    "one group": {"stamps": STEADY, "gop": 10_000, "bframes": 3},
    "no b-frames": {"stamps": STEADY, "gop": 25, "bframes": 0},
    "variable mp4": {"stamps": VARIABLE, "gop": 30, "bframes": 3},
    "variable mkv": {"stamps": VARIABLE, "name": "v.mkv", "gop": 30, "bframes": 3},
    "mpegts": {"stamps": STEADY, "name": "v.ts", "gop": 30},
    "mpeg2": {"stamps": STEADY, "name": "v.mpg", "codec": "mpeg2video", "gop": 12, "unit": Fraction(1, 25)},
    "mpeg4 avi": {"stamps": STEADY, "name": "v.avi", "codec": "mpeg4"},
}


@pytest.mark.parametrize("kind", FILES)
def test_pictures_at_random_times_are_exact(kind: str, make_video: Callable[..., Path], number_of: Callable) -> None:
    path = make_video(**FILES[kind])
    # Formats place the first timestamp where they like; what counts is the distance to it.
    first = float(read_frames(path, [-1]).times[0])
    stamps = [first + (stamp - FILES[kind]["stamps"][0]) / 1000 for stamp in FILES[kind]["stamps"]]
    chance = random.Random(kind)
    for count in (1, 1, 1, 3, 8):
        # Half a millisecond beside the timestamps, which formats round.
        times = [chance.choice(stamps) + chance.choice([0.0006, 0.003, -0.002, 0.017]) for _ in range(count)]
        wanted = sorted({max(0, bisect.bisect_right(stamps, time) - 1) for time in times})
        frames = read_frames(path, times)
        assert [number_of(picture) for picture in frames.images] == wanted
        assert frames.times == pytest.approx([stamps[number] for number in wanted], abs=0.0006)
    every = read_frames(path, [stamp + 0.001 for stamp in stamps])
    assert [number_of(picture) for picture in every.images] == list(range(len(stamps)))


def test_times_before_the_start_and_behind_the_end(make_video: Callable[..., Path], number_of: Callable) -> None:
    path = make_video(STEADY[:30], gop=10)
    frames = read_frames(path, [-100, 1e6, 1e6 + 1])
    assert [number_of(picture) for picture in frames.images] == [0, 29]
    assert frames.times == pytest.approx([0, 29 * 0.04])


def test_one_view_in_a_long_group_decodes_few_pictures(make_video: Callable[..., Path], number_of: Callable) -> None:
    path = make_video(list(range(0, 40_000, 40)), gop=250, bframes=3)
    frames = read_frames(path, [25.02])
    assert number_of(frames.images[0]) == 625
    # The last key frame is 125 pictures before; those that no other refers to are not decoded.
    assert frames.decoded <= 80
    near_key = read_frames(path, [30.0])
    assert number_of(near_key.images[0]) == 750
    assert near_key.decoded <= 6
    sparse = read_frames(path, [0.0, 10.0, 20.0, 30.0])
    assert [number_of(picture) for picture in sparse.images] == [0, 250, 500, 750]
    assert sparse.decoded <= 24


def test_groups_between_wanted_pictures_are_not_decoded(make_video: Callable[..., Path], number_of: Callable) -> None:
    path = make_video(list(range(0, 20_000, 40)), gop=25, bframes=2)
    frames = read_frames(path, [0.0, 2.0, 4.0, 6.0, 17.0])
    assert [number_of(picture) for picture in frames.images] == [0, 50, 100, 150, 425]
    assert frames.decoded <= 25


def test_regions_are_cut_from_the_displayed_picture(make_video: Callable[..., Path]) -> None:
    path = make_video(STEADY[:3], size=(160, 96))
    corner = read_frames(path, [0], region=Region.of(0, 0, 0.25, 0.25)).images[0]
    assert corner.shape == (24, 40, 3)
    assert corner[4:-4, 4:-4].mean(axis=(0, 1)) == pytest.approx((230, 20, 20), abs=25)
    rest = read_frames(path, [0], region=Region.of(0.5, 0.5, 1, 1), short_side=12).images[0]
    assert rest.shape == (12, 20, 3)
    assert rest.max() < 60
    odd = read_frames(path, [0], region=Region.of(0.333, 0.111, 0.3334, 0.1111)).images[0]
    assert min(odd.shape[:2]) >= 1


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_is_applied_before_regions(rotation: int, make_video: Callable[..., Path]) -> None:
    path = make_video(STEADY[:3], name="turned.mov", rotation=rotation)
    upright = read_frames(make_video(STEADY[:3], name="upright.mov"), [0]).images[0]
    turned = read_frames(path, [0]).images[0]
    # numpy turns counter-clockwise.
    expected = np.rot90(upright, -rotation // 90)
    assert turned.shape == expected.shape
    assert np.abs(turned.astype(int) - expected).mean() < 4
    half = Region.of(0, 0, 1, 0.5)
    top = read_frames(path, [0], region=half).images[0]
    assert np.abs(top.astype(int) - expected[: len(expected) // 2]).mean() < 4


def test_pictures_are_never_enlarged(make_video: Callable[..., Path]) -> None:
    path = make_video(STEADY[:2], size=(160, 96))
    assert read_frames(path, [0], short_side=1000).images.shape[1:] == (96, 160, 3)
    assert read_frames(path, [0], short_side=48).images.shape[1:] == (48, 80, 3)
    assert read_frames(path, [0], region=Region.of(0, 0, 0.5, 0.5), short_side=64).images.shape[1:] == (48, 80, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"pix_fmt": "yuv420p10le"},
        {"pix_fmt": "yuv444p", "size": (161, 97)},
        {"codec": "ffv1", "name": "odd.mkv", "size": (161, 97)},
        {"codec": "mjpeg", "name": "full.mkv", "pix_fmt": "yuvj420p"},
    ],
    ids=["10 bit", "odd", "odd and subsampled", "full range"],
)
def test_unusual_pictures(options: dict, make_video: Callable[..., Path], number_of: Callable) -> None:
    path = make_video(STEADY[:12], **options)
    frames = read_frames(path, [0.05, 0.3])
    assert [number_of(picture) for picture in frames.images] == [1, 7]
    assert frames.images.shape[1:3] == options.get("size", (160, 96))[::-1]
    assert frames.images[0, 5, 5] == pytest.approx((230, 20, 20), abs=25)
    assert read_frames(path, [0], region=Region.of(0.1, 0.1, 0.7, 0.77)).images.dtype == np.uint8


def test_a_single_picture(make_video: Callable[..., Path], number_of: Callable) -> None:
    frames = read_frames(make_video([0]), [0, 0.01, 5])
    assert len(frames) == 1
    assert number_of(frames.images[0]) == 0


def test_a_truncated_file_gives_what_it_has(make_video: Callable[..., Path], number_of: Callable) -> None:
    path = make_video(STEADY, name="v.mkv", gop=25)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    frames = read_frames(path, [0.0, 1.0, 7.9])
    numbers = [number_of(picture) for picture in frames.images]
    assert numbers[:2] == [0, 25]
    assert 60 < numbers[2] < 140


def test_damage_gives_the_pictures_before_it(
    make_video: Callable[..., Path], number_of: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video(STEADY, name="v.mp4", gop=100, bframes=0, size=(320, 192), options={"crf": "1"})
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 500] = bytes(500)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        frames = read_frames(path, [0.0, 1.0, 3.9, 4.0])
    numbers = [number_of(picture) for picture in frames.images]
    assert numbers[:2] == [0, 25]
    assert 25 < numbers[2] < 99
    assert numbers[3] == 100
    assert "damaged" in caplog.text


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("nasa_13013.mp4", 13, (480, 270)),
        ("unordered.mov", 4, (50, 50)),
        ("av1_video.mkv", 5, (640, 360)),
        ("h265_video.mp4", 10, (128, 128)),
        ("h264_10bits.mp4", 10, (200, 200)),
        ("bt709_full_range.mp4", 10, (1280, 720)),
        ("video_90.mov", 3, (320, 568)),
        ("video_180.mov", 3, (568, 320)),
    ],
)
def test_real_files(name: str, count: int, size: tuple[int, int], shared_data: Path) -> None:
    path = shared_data / name
    everything = read_frames(path, [i * 0.02 for i in range(650)], short_side=32)
    step = max(1, len(everything) // count)
    times = everything.times[::step]
    few = read_frames(path, times + 1e-4)
    assert few.times == pytest.approx(times)
    assert few.images.shape[1:3] == size[::-1]
    assert len(few) >= count
    assert few.images.std() > 5 or name == "unordered.mov", "only that one is plain white"


def test_a_damaged_real_file_gives_28_pictures(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = read_frames(shared_data / "corrupted.mp4", [i / 10 + 0.01 for i in range(50)], short_side=64)
    assert frames.times[:28] == pytest.approx([i / 10 for i in range(28)])
    assert len(frames) <= 30
    assert "damaged" in caplog.text


def test_what_cannot_be_read(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    with pytest.raises(NotFound):
        read_frames(tmp_path / "none.mp4", [0])
    with pytest.raises(BadInput, match="no pictures"):
        read_frames(make_video([], name="sound.m4a", tone=(0, 1)), [0])
    with pytest.raises(BadInput) as caught:
        read_frames(make_video([0]), [])
    assert caught.value.field == "times"


def test_a_file_whose_pictures_are_all_damaged(make_video: Callable[..., Path]) -> None:
    path = make_video(STEADY[:20], size=(320, 192), options={"crf": "1"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    stop = data.index(b"moov", start) - 4
    data[start:stop] = b"\xff" * (stop - start)
    path.write_bytes(data)
    with pytest.raises(MediaError) as caught:
        read_frames(path, [0.1])
    assert caught.value.field == "span"
