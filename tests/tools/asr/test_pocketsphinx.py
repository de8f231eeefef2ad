"""pocketsphinx on real and synthesised speech."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tools.asr import SAMPLE_RATE, AsrBackend
from tools.asr.backends.pocketsphinx import PocketSphinx
from tools.asr.vad import VoiceActivity
from tools.errors import ProfileError
from tools.media.audio import read_audio
from tools.media.probe import probe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recogniser() -> Iterator[PocketSphinx]:
    made = PocketSphinx(workers=2)
    yield made
    made.close()


def words_of(recogniser: AsrBackend, path: Path) -> list[str]:
    """What is recognised in a file's stretches of speech."""
    sound = read_audio(path, probe(path).span)
    segments = VoiceActivity().segments([sound])
    return [word.text for segment in segments for word in recogniser.transcribe(segment.audio)]


def test_a_synthesised_sentence(recogniser: PocketSphinx, spoken_train: np.ndarray) -> None:
    words = recogniser.transcribe(spoken_train)
    assert [word.text for word in words] == ["the", "train", "comes", "every", "friday"]
    assert words[0].span.start < 0.2
    assert words[-1].span.end > len(spoken_train) / SAMPLE_RATE - 0.2
    assert all(0 < word.score <= 1 for word in words)


def test_loudness_does_not_matter(recogniser: PocketSphinx, spoken_train: np.ndarray) -> None:
    texts = {tuple(word.text for word in recogniser.transcribe(spoken_train * gain)) for gain in (0.02, 1.0)}
    assert len(texts) == 1


def runs_of(said: list[str], *phrases: str) -> list[bool]:
    """Whether each phrase was heard, word after word."""
    text = f" {' '.join(said)} "
    return [f" {phrase} " in text for phrase in phrases]


def test_kennedy(shared_data: Path) -> None:
    thorough = PocketSphinx(search="full", workers=1)
    said = words_of(thorough, shared_data / "jfk.flac")
    thorough.close()
    assert all(runs_of(said, "my fellow americans", "can do for you", "what you can")), said


def test_nasa(recogniser: PocketSphinx, shared_data: Path) -> None:
    said = words_of(recogniser, shared_data / "nasa_13013.mp4")
    assert all(runs_of(said, "webb space telescope", "in one of the largest clean rooms", "goddard space")), said


def test_impossible_options() -> None:
    with pytest.raises(ProfileError) as caught:
        PocketSphinx(workers=0)
    assert caught.value.field == "workers"
    with pytest.raises(ProfileError, match="did you mean 'full'"):
        PocketSphinx(search="ful")


def test_no_process_before_the_first_call() -> None:
    made = PocketSphinx(workers=1)
    assert made._pool.pids() == []
    assert made.transcribe(np.zeros(16000, np.float32)) == []
    assert made._pool.pids() == []
