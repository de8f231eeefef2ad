"""Sound on the video's own clock."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tools.media.audio import SAMPLE_RATE, read_audio
from tools.media.span import Span


def loudness(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Peak of each tenth of a second."""
    whole = sound[: len(sound) // 1600 * 1600]
    return np.abs(whole).reshape(-1, 1600).max(axis=1)


def pitch(sound: npt.NDArray[np.float32]) -> float:
    return float(np.abs(np.fft.rfft(sound)).argmax() * SAMPLE_RATE / len(sound))


def test_shape_rate_and_pitch(make_video: Callable[..., Path]) -> None:
    path = make_video([0, 40, 80], tone=(0, 4))
    sound = read_audio(path, Span.of(1.0, 3.0))
    assert sound.shape == (2 * SAMPLE_RATE,)
    assert sound.dtype == np.float32
    assert pitch(sound) == pytest.approx(440, abs=1)
    assert loudness(sound).min() > 0.3


def test_windows_join_without_a_seam(make_video: Callable[..., Path]) -> None:
    path = make_video([0], tone=(0, 4))
    whole = read_audio(path, Span.of(0, 4))
    parts = np.concatenate([read_audio(path, window) for window in Span.of(0, 4).windows(0.7)])
    assert len(parts) == pytest.approx(len(whole), abs=6)
    size = min(len(parts), len(whole)) - 800
    assert np.abs(parts[800:size] - whole[800:size]).mean() < 0.01


def test_silence_where_there_is_no_sound(make_video: Callable[..., Path]) -> None:
    late = make_video(list(range(0, 6000, 40)), name="late.mkv", tone=(2, 4))
    levels = loudness(read_audio(late, Span.of(0, 6)))
    assert levels[:19].max() < 0.02
    assert levels[21:39].min() > 0.3
    assert levels[42:].max() < 0.02
    silent = read_audio(make_video([0, 40], name="mute.mp4"), Span.of(0, 1))
    assert silent.shape == (SAMPLE_RATE,)
    assert not silent.any()
    assert read_audio(late, Span.of(50, 51)).max() == 0
    assert len(read_audio(late, Span.of(1, 1))) == 0


def test_a_gap_in_the_timestamps_stays_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for second in (0, 3):
            wave = (12_000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.int16)
            for at in range(0, 48_000, 960):
                block = np.repeat(wave[at : at + 960], 2)[None]
                frame = av.AudioFrame.from_ndarray(block, "s16", "stereo")
                frame.sample_rate, frame.pts = 48_000, second * 48_000 + at
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    levels = loudness(read_audio(path, Span.of(0, 4)))
    assert levels[1:9].min() > 0.2
    assert levels[11:29].max() < 0.01
    assert levels[31:39].min() > 0.2


def test_real_speech(shared_data: Path) -> None:
    sound = read_audio(shared_data / "jfk.flac", Span.of(0, 11))
    assert sound.shape == (11 * SAMPLE_RATE,)
    assert 0.1 < np.abs(sound).max() <= 1.2
    nasa = read_audio(shared_data / "nasa_13013.mp4", Span.of(2, 4))
    assert loudness(nasa).max() > 0.1
