"""The EasyOCR backend on weight files of the real classes, and without them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.errors import ProfileError
from tools.ocr import BACKENDS


@pytest.mark.slow
def test_it_reads_with_the_weights_of_a_folder(trusted_weights: Path, draw_text) -> None:
    backend = BACKENDS.create("easyocr", {"model_directory": str(trusted_weights), "min_score": 0.0})
    assert backend.model == "easyocr-en"
    picture = draw_text([(10, 10, "some text")], size=(160, 64))
    lines = backend.read(picture)
    # The detector of the fixture sees one line as large as the picture.
    assert len(lines) == 1
    assert lines[0].text
    assert 0 <= lines[0].score <= 1
    assert lines[0].region.area > 0.8
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(backend.read, [picture] * 4)) == [lines] * 4


@pytest.mark.slow
def test_lines_below_the_score_are_dropped(trusted_weights: Path, draw_text) -> None:
    backend = BACKENDS.create("easyocr", {"model_directory": str(trusted_weights), "min_score": 1.0})
    assert backend.read(draw_text([(10, 10, "some text")], size=(160, 64))) == []


def test_missing_weights_are_a_profile_error_and_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        BACKENDS.create("easyocr", {"model_directory": str(tmp_path / "nowhere")})
    assert caught.value.field == "model_directory"
    assert "nowhere" in caught.value.message
    assert "download: true" in caught.value.remedy
    assert "craft_mlt_25k.pth" in caught.value.remedy
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_without_the_files_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"craft_mlt_25k\.pth"):
        BACKENDS.create("easyocr", {"model_directory": str(tmp_path)})


def test_files_with_another_check_sum_are_refused(easyocr_weights: Path) -> None:
    with pytest.raises(ProfileError, match="MD5 mismatch"):
        BACKENDS.create("easyocr", {"model_directory": str(easyocr_weights)})


def test_unknown_languages_are_a_profile_error(trusted_weights: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        BACKENDS.create("easyocr", {"model_directory": str(trusted_weights), "languages": ["klingon"]})
    assert caught.value.field == "languages"


def test_check_tells_without_loading(easyocr_weights: Path, tmp_path: Path) -> None:
    kind = BACKENDS.get("easyocr")
    assert kind.check(model_directory=str(easyocr_weights)) is None
    assert kind.check(model_directory=str(tmp_path), download=True) is None
    assert kind.check(model_directory=str(tmp_path)).field == "model_directory"
