"""The one pass of indexing: what it decodes, what it gives, what it keeps in memory."""

import gc
import itertools
import logging
import weakref
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tools.errors import MediaError
from tools.media.change import CHANGED
from tools.media.scan import Sample, ScanStats, scan
from tools.media.shots import ShotBuilder, shots
from tools.media.span import Span

STEADY = list(range(0, 20_000, 40))


def check(samples: list[Sample]) -> None:
    """What holds for every scan."""
    assert samples[0].cut
    assert samples[0].change == 1
    for before, after in itertools.pairwise(samples):
        assert before.time < before.until == after.time
        assert before.image.shape == after.image.shape
    assert samples[-1].time <= samples[-1].until


def test_close_key_frames_are_all_that_is_decoded(make_video: Callable[..., Path], number_of: Callable) -> None:
    stats = ScanStats()
    samples = list(scan(make_video(STEADY, gop=50), stats=stats))
    check(samples)
    assert [number_of(sample.image) for sample in samples] == list(range(0, 500, 50))
    assert [sample.time for sample in samples] == pytest.approx(list(range(0, 20, 2)))
    assert samples[-1].until == pytest.approx(20, abs=0.05)
    assert (stats.packets, stats.decoded, stats.packets_total) == (10, 10, 500)


def test_key_frames_closer_than_needed_are_left_out(make_video: Callable[..., Path], number_of: Callable) -> None:
    stats = ScanStats()
    samples = list(scan(make_video(STEADY, gop=1, bframes=0), fps=0.5, stats=stats))
    check(samples)
    assert stats.decoded == stats.packets <= 14
    gaps = np.diff([sample.time for sample in samples])
    assert gaps.min() >= 1.5 - 1e-6
    assert gaps.max() <= 2 + 1e-6


def test_long_groups_give_the_rate_without_unused_pictures(
    make_video: Callable[..., Path], number_of: Callable
) -> None:
    stats = ScanStats()
    samples = list(scan(make_video(STEADY, gop=10_000, bframes=3), stats=stats))
    check(samples)
    for sample in samples:
        assert number_of(sample.image) == pytest.approx(sample.time / 0.04, abs=1e-3)
    # Where a picture differs much from the one before there is a sample more.
    assert 18 <= len(samples) <= 26
    assert np.diff([sample.time for sample in samples]).max() <= 1.1
    assert stats.packets == 500
    assert stats.decoded <= 300


def test_groups_of_both_kinds(make_video: Callable[..., Path], number_of: Callable) -> None:
    # Ten seconds apart in time, but for a burst: the same distance in pictures.
    stamps = [*range(0, 4000, 40), *range(4000, 24_000, 200), *range(24_000, 28_000, 40)]
    stats = ScanStats()
    samples = list(scan(make_video(stamps, gop=50, bframes=2), stats=stats))
    check(samples)
    for sample in samples:
        assert stamps[number_of(sample.image)] == pytest.approx(1000 * sample.time, abs=1)
    gaps = np.diff([sample.time for sample in samples])
    assert gaps.max() <= 2.3
    assert stats.packets < 120


def _scenes(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """A new scene every 83 pictures, with something moving in each."""
    small = np.random.default_rng(number // 83).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.circle(picture, (20 + number % 83, 40), 8, (255, 255, 255), -1)


def test_cuts_are_found_where_pictures_are_decoded_anyway(make_video: Callable[..., Path]) -> None:
    samples = list(scan(make_video(STEADY, gop=10_000, picture=_scenes)))
    check(samples)
    cuts = [sample.time for sample in samples if sample.cut]
    assert cuts == pytest.approx([83 * i * 0.04 for i in range(7)], abs=0.3)


def test_cuts_are_found_at_key_frames(make_video: Callable[..., Path]) -> None:
    samples = list(scan(make_video(STEADY, gop=25, picture=_scenes)))
    check(samples)
    cuts = [sample.time for sample in samples if sample.cut]
    # The last scene starts behind the last key frame.
    assert cuts == pytest.approx([83 * i * 0.04 for i in range(6)], abs=1.01)


def test_pyscenedetect_finds_the_same_cuts(make_video: Callable[..., Path]) -> None:
    from scenedetect import AdaptiveDetector, SceneManager
    from scenedetect.backends.pyav import VideoStreamAv

    path = make_video(STEADY[:340], gop=10_000, picture=_scenes)
    manager = SceneManager()
    manager.add_detector(AdaptiveDetector())
    manager.detect_scenes(VideoStreamAv(str(path)))
    theirs = [start.seconds for start, _ in manager.get_scene_list()]
    ours = [sample.time for sample in scan(path) if sample.cut]
    assert ours == pytest.approx(theirs, abs=0.3)


def test_a_caption_shows_as_change_and_a_still_picture_does_not(make_video: Callable[..., Path]) -> None:
    def captioned(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
        picture = np.full((height, width, 3), 90, dtype=np.uint8)
        picture += np.random.default_rng(number).integers(0, 8, picture.shape, dtype=np.uint8)
        if 200 <= number < 300:
            cv2.putText(picture, "Lyon", (20, height - 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
        return picture

    samples = list(scan(make_video(STEADY[:350], gop=25, size=(320, 180), picture=captioned)))
    assert [sample.time for sample in samples if sample.changed] == pytest.approx([0, 8, 12], abs=0.05)
    assert max(sample.change for sample in samples if not sample.changed) < CHANGED / 2
    assert [sample.time for sample in samples if sample.cut] == [0]


def _frames_in_memory() -> int:
    # By type, for asking objects of other libraries for their class may import half of these libraries.
    return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())


def test_samples_are_small_upright_and_few_are_alive(make_video: Callable[..., Path]) -> None:
    path = make_video(STEADY, name="v.mov", gop=10, size=(320, 192), rotation=90)
    alive: list[weakref.ref[Sample]] = []
    # Pictures must not wait for the collector of cycles, which comes when many small objects have piled up.
    gc.collect()
    before = _frames_in_memory()
    gc.disable()
    try:
        for sample in scan(path, fps=5, short_side=64):
            assert sample.image.shape == (107, 64, 3)
            alive.append(weakref.ref(sample))
            assert sum(reference() is not None for reference in alive) <= 2
        after = _frames_in_memory()
    finally:
        gc.enable()
    assert len(alive) >= 45
    assert after - before <= 3


def test_damage_is_left_out_with_a_warning(
    make_video: Callable[..., Path], number_of: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video(STEADY, gop=100, bframes=0, size=(320, 192), options={"crf": "1"})
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 500] = bytes(500)
    damaged_group = 1
    path.write_bytes(data)
    stats = ScanStats()
    with caplog.at_level(logging.WARNING):
        samples = list(scan(path, stats=stats))
    check(samples)
    assert stats.damaged >= 1
    assert "damaged" in caplog.text
    numbers = [number_of(sample.image) for sample in samples]
    broken = [number for number in numbers if number // 100 == damaged_group]
    assert broken[0] % 100 == 0
    assert max(broken) % 100 < 80
    assert {0, 100, 200, 300, 400} <= set(numbers)
    for sample in samples:
        assert number_of(sample.image) == pytest.approx(sample.time / 0.04, abs=1e-3)


def test_sound_only_and_no_media(make_video: Callable[..., Path], tmp_path: Path) -> None:
    assert list(scan(make_video([], name="sound.m4a", tone=(0, 1)))) == []
    bad = tmp_path / "bad.mp4"
    bad.write_text("no film")
    with pytest.raises(MediaError):
        list(scan(bad))
    with pytest.raises(ValueError, match="fps"):
        list(scan(bad, fps=0))
    assert len(list(scan(make_video([0], name="one.mp4")))) == 1


@pytest.mark.parametrize(
    "name",
    ["nasa_13013.mp4", "flipping_a_pancake.mkv", "av1_video.mkv", "h265_video.mp4", "corrupted.mp4", "video_90.mov"],
)
def test_real_files(name: str, shared_data: Path) -> None:
    samples = list(scan(shared_data / name))
    check(samples)
    assert all(clip.duration <= 30 for clip in shots(samples))


def _sample(time: float, until: float, cut: bool) -> Sample:
    return Sample(time, until, np.zeros((1, 1, 3), np.uint8), cut, 0.0)


def test_shots_follow_each_other_and_long_ones_are_split() -> None:
    times = [*range(0, 70, 2), 70, 70.3, 75, 80]
    cuts = {0, 70, 70.3, 75}
    samples = [_sample(a, b, a in cuts) for a, b in itertools.pairwise([*times, 82])]
    clips = shots(samples, max_seconds=30)
    assert clips[0].start == 0
    assert clips[-1].end == 82
    for before, after in itertools.pairwise(clips):
        assert before.end == after.start
    assert [clip.duration for clip in clips[:3]] == pytest.approx([30, 30, 10])
    # 70.3 comes too soon after 70 to end a shot.
    assert clips[3:] == [Span.of(70, 75), Span.of(75, 82)]
    builder = ShotBuilder()
    assert builder.finish() == []
    assert [clip for sample in samples for clip in builder.add(sample)] + builder.finish() == clips
    with pytest.raises(ValueError, match="max_seconds"):
        ShotBuilder(1, 2)
