"""Voice activity on speech, silence, hiss and music, streamed in pieces of any length."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.asr import SAMPLE_RATE
from tools.asr.vad import MAX_SECONDS, Segment, VoiceActivity


@pytest.fixture(scope="module")
def activity() -> VoiceActivity:
    return VoiceActivity()


@pytest.fixture(scope="module")
def talk(sentence: np.ndarray) -> np.ndarray:
    """Two seconds of quiet, a sentence, two seconds, the sentence again, one second."""
    quiet = np.zeros(2 * SAMPLE_RATE, np.float32)
    return np.concatenate([quiet, sentence, quiet, sentence, quiet[:SAMPLE_RATE]])


def found(activity: VoiceActivity, sound: np.ndarray, size: int, **options: float) -> list[Segment]:
    pieces = [sound[i : i + size] for i in range(0, len(sound), size)]
    return list(activity.segments(pieces, **options))


def test_each_sentence_is_one_segment_that_holds_its_sound(
    activity: VoiceActivity, talk: np.ndarray, sentence: np.ndarray
) -> None:
    segments = found(activity, talk, SAMPLE_RATE, start=100.0)
    length = len(sentence) / SAMPLE_RATE
    assert len(segments) == 2
    for segment, start in zip(segments, (102.0, 104.0 + length), strict=True):
        assert abs(segment.start - start) < 0.4
        assert abs(segment.span.end - start - length) < 0.4
        offset = round((segment.start - 100) * SAMPLE_RATE)
        np.testing.assert_array_equal(segment.audio, talk[offset : offset + len(segment.audio)])


@settings(max_examples=15)
@given(size=st.integers(100, 100_000))
def test_the_size_of_the_pieces_does_not_matter(activity: VoiceActivity, talk: np.ndarray, size: int) -> None:
    whole = found(activity, talk, len(talk))
    pieces = found(activity, talk, size)
    assert [s.span for s in pieces] == [s.span for s in whole]


def test_silence_hiss_and_music_hold_no_speech(activity: VoiceActivity, noise: np.ndarray, music: np.ndarray) -> None:
    silence = np.zeros(3 * SAMPLE_RATE, np.float32)
    for sound in (silence, noise, noise / 100, music, music + noise):
        assert found(activity, sound, SAMPLE_RATE) == []
    assert found(activity, np.zeros(0, np.float32), 1) == []


def test_speech_under_hiss_is_found(activity: VoiceActivity, talk: np.ndarray) -> None:
    hiss = np.random.default_rng(1).normal(0, 0.005, len(talk)).astype(np.float32)
    assert len(found(activity, talk + hiss, SAMPLE_RATE)) == 2


def test_speech_that_the_end_cuts_off_is_kept(activity: VoiceActivity, sentence: np.ndarray) -> None:
    half = sentence[: len(sentence) // 2]
    (segment,) = found(activity, half, 5000)
    assert segment.span.end == pytest.approx(len(half) / SAMPLE_RATE, abs=0.05)


def test_reading_stops_after_the_speech_that_was_asked_for(activity: VoiceActivity, talk: np.ndarray) -> None:
    read = 0

    def pieces() -> "object":
        nonlocal read
        for i in range(0, len(talk), 1600):
            read = i + 1600
            yield talk[i : i + 1600]

    (segment,) = activity.segments(pieces(), until=3.0)  # type: ignore[arg-type]
    assert segment.start < 3.0
    assert segment.span.end * SAMPLE_RATE < read < len(talk) * 0.8


def test_speech_without_end_is_cut_and_nothing_is_lost(activity: VoiceActivity, sentence: np.ndarray) -> None:
    long = np.tile(sentence[2000:-2000], 30)[: round(SAMPLE_RATE * MAX_SECONDS * 1.6)]
    segments = found(activity, long, SAMPLE_RATE)
    assert all(segment.span.duration <= MAX_SECONDS + 0.5 for segment in segments)
    assert sum(segment.span.duration for segment in segments) > 0.9 * len(long) / SAMPLE_RATE
    for left, right in itertools.pairwise(segments):
        assert left.span.end <= right.start + 1e-6


def test_pauses_are_noticed_once_the_model_has_settled(
    activity: VoiceActivity, talk: np.ndarray, sentence: np.ndarray
) -> None:
    assert activity.pauses(talk)
    assert not activity.pauses(np.tile(sentence[2000:-2000], 2))
