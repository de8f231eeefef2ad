"""The speech benchmark counts wrong words and gives a row for everything that works offline."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evals.bench.asr
from evals.bench.asr import run, word_error_rate
from evals.synth.builders import short_script

texts = st.lists(st.sampled_from(["the", "train", "comes", "late"]), max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        ("The train comes.", "the train comes", 0),
        ("the train comes", "a train comes late", 2),
        ("the train comes", "", 3),
        ("the train comes", "train comes", 1),
    ],
)
def test_wrong_words_are_counted(said: str, heard: str, wrong: int) -> None:
    assert word_error_rate(said, heard) == (wrong, 3)


@given(texts, texts)
def test_a_distance_is_bounded_and_zero_only_for_equal_texts(said: str, heard: str) -> None:
    wrong, words = word_error_rate(said, heard)
    assert abs(len(said.split()) - len(heard.split())) <= wrong <= max(words, len(heard.split()))
    assert (wrong == 0) == (said == heard)


@pytest.mark.slow
def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evals.bench.asr, "_MINUTES", 0.2)
    monkeypatch.setattr(evals.bench.asr, "demo_script", lambda: short_script(1))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rows = run(tmp_path / "out")
    cases = [row["case"] for row in rows]
    assert cases[0] == "voice activity"
    assert "pocketsphinx: continuous speech" in cases
    assert "pocketsphinx full: demo sentences" in cases
    assert not any("whisper" in case for case in cases)
    assert all(row["realtime"] > 0 for row in rows)
    assert all(0 <= row["word_error_rate"] <= 1 for row in rows[1:])
