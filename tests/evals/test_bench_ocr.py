"""The OCR benchmark measures what it says."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.bench import ocr

words = st.text("abc ", max_size=8)


@given(words, words, words)
def test_edit_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert ocr.edit_distance(a, a) == 0
    assert ocr.edit_distance(a, b) == ocr.edit_distance(b, a)
    assert ocr.edit_distance(a, c) <= ocr.edit_distance(a, b) + ocr.edit_distance(b, c)
    assert abs(len(a) - len(b)) <= ocr.edit_distance(a, b) <= max(len(a), len(b))


@pytest.mark.slow
def test_rows_for_every_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "SHORT_SIDES", (360,))
    monkeypatch.setattr(ocr, "LETTERS", (36,))
    monkeypatch.setattr("easyocr.config.MODULE_PATH", str(tmp_path / "none"))
    rows = ocr.run(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "ocr.json").read_text()) == rows
    assert {row["backend"] for row in rows} == set(ocr.BACKENDS.names())
    (read,) = [row for row in rows if row["backend"] == "rapidocr"]
    assert read["character_error_rate"] < 0.02
    assert read["ms_per_frame"] > 0
