"""The contract that every ASR backend keeps."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tools.asr import SAMPLE_RATE, AsrBackend, Word

pytestmark = pytest.mark.slow


def test_words_lie_in_order_inside_the_sound(backend: AsrBackend, sentence: np.ndarray) -> None:
    words = backend.transcribe(sentence)
    duration = len(sentence) / SAMPLE_RATE
    assert all(isinstance(word, Word) for word in words)
    assert [word.span.start for word in words] == sorted(word.span.start for word in words)
    for word in words:
        assert 0 <= word.span.start <= word.span.end <= duration
        assert 0 <= word.score <= 1
        assert word.text == word.text.strip() != ""


@pytest.mark.parametrize("seconds", [0.0, 0.01, 1.0])
def test_silence_gives_nothing(backend: AsrBackend, seconds: float) -> None:
    assert backend.transcribe(np.zeros(round(seconds * SAMPLE_RATE), np.float32)) == []


def test_a_click_is_taken(backend: AsrBackend) -> None:
    assert isinstance(backend.transcribe(np.full(200, 0.5, np.float32)), list)


def test_threads_get_what_one_caller_gets(backend: AsrBackend, sentence: np.ndarray) -> None:
    sounds = [sentence[: len(sentence) // 2], sentence, sentence[len(sentence) // 3 :]]
    alone = [backend.transcribe(sound) for sound in sounds]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(backend.transcribe, sounds)) == alone


def test_the_longest_window_is_taken(backend: AsrBackend, sentence: np.ndarray) -> None:
    repeats = int(backend.max_seconds * SAMPLE_RATE // len(sentence))
    long = np.tile(sentence, max(1, min(repeats, 2)))
    assert all(word.span.end <= len(long) / SAMPLE_RATE for word in backend.transcribe(long))


def test_it_names_its_model_and_says_what_it_takes(backend: AsrBackend) -> None:
    assert backend.model
    assert backend.parallel >= 1
    assert backend.max_seconds >= 5


def test_results_travel_between_processes(backend: AsrBackend, sentence: np.ndarray) -> None:
    words = backend.transcribe(sentence)
    assert pickle.loads(pickle.dumps(words)) == words


def test_it_works_again_after_close(backend: AsrBackend, sentence: np.ndarray) -> None:
    before = backend.transcribe(sentence)
    backend.close()
    assert backend.transcribe(sentence) == before
