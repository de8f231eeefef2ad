"""Whisper on a tiny random checkpoint of the real class, and the errors for models that are not there."""

from pathlib import Path

import numpy as np
import pytest

from tools.asr import SAMPLE_RATE
from tools.asr.backends.whisper import Whisper
from tools.errors import ProfileError


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No model is on this machine, and nothing can be fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return tmp_path / "whisper"


def test_a_named_model_that_is_not_here_is_not_fetched(empty_cache: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        Whisper("base")
    assert caught.value.field == "model"
    assert "base" in caught.value.message
    assert "base.pt" in caught.value.remedy
    assert "download: true" in caught.value.remedy
    assert "large-v3-turbo.pt" in str(Whisper.check("turbo"))


def test_a_path_that_is_not_here(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pt")
    with pytest.raises(ProfileError, match=r"none\.pt"):
        Whisper(missing)
    assert "none.pt" in str(Whisper.check(missing, download=True))


@pytest.mark.slow
def test_download_fails_with_a_clear_error(empty_cache: Path) -> None:
    recogniser = Whisper("tiny", download=True)
    with pytest.raises(ProfileError, match="could not be downloaded"):
        recogniser.transcribe(np.ones(SAMPLE_RATE, np.float32))


@pytest.mark.slow
def test_an_unknown_name_is_met_with_the_nearest(empty_cache: Path) -> None:
    recogniser = Whisper("tinny", download=True)
    with pytest.raises(ProfileError, match="did you mean 'tiny'"):
        recogniser.transcribe(np.ones(SAMPLE_RATE, np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_broken_checkpoint_is_one_clear_error(tmp_path: Path, tiny_whisper: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.pt"
    whole = tiny_whisper.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ProfileError) as caught:
        Whisper(str(path)).transcribe(np.ones(SAMPLE_RATE, np.float32))
    assert caught.value.field == "model"
    assert "broken.pt" in caught.value.message


@pytest.mark.slow
def test_the_real_class_gives_words_with_times(tiny_whisper: Path, sentence: np.ndarray) -> None:
    words = Whisper(str(tiny_whisper), language="en").transcribe(sentence)
    assert words
    assert any(word.span.duration > 0 for word in words)


@pytest.mark.slow
def test_the_cache_is_where_openai_whisper_looks(empty_cache: Path, tiny_whisper: Path) -> None:
    empty_cache.mkdir()
    (empty_cache / "base.pt").write_bytes(tiny_whisper.read_bytes())
    assert Whisper.check("base") is None
    assert Whisper("base").model == "whisper-base"
