"""RapidOCR's options, and the spaces that its recogniser leaves out."""

import numpy as np
import pytest

from tools.errors import ProfileError
from tools.ocr import BACKENDS

SENTENCE = "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG"


@pytest.mark.parametrize("font", [20, 30])
def test_spaces_between_capitals_are_put_back(draw_text, font: int) -> None:
    picture = draw_text([(20, 60, SENTENCE)], size=(800, 160), font=font)
    assert [line.text for line in BACKENDS.create("rapidocr").read(picture)] == [SENTENCE]
    bare = BACKENDS.create("rapidocr", {"space": 1.0}).read(picture)
    assert bare[0].text.replace(" ", "") == SENTENCE.replace(" ", "")
    assert bare[0].text.count(" ") < SENTENCE.count(" ")


def test_words_and_addresses_stay_whole(draw_text) -> None:
    texts = ["anna.berg@example.org", "Incomprehensibilities", "$1,250.00 (net)"]
    picture = draw_text([(20, 30 + 80 * i, text) for i, text in enumerate(texts)], size=(640, 280), font=28)
    assert [line.text for line in BACKENDS.create("rapidocr").read(picture)] == texts


def test_lines_that_stand_on_their_head_are_read_with_the_angle_classifier(draw_text) -> None:
    picture = draw_text([(60, 60, "Upside down sign")], size=(400, 160), font=32)
    turned = np.ascontiguousarray(picture[::-1, ::-1])
    backend = BACKENDS.create("rapidocr", {"angle_classifier": True})
    assert [line.text for line in backend.read(turned)] == ["Upside down sign"]
    assert [line.text for line in BACKENDS.create("rapidocr").read(turned)] != ["Upside down sign"]


@pytest.mark.parametrize("options", [{"min_side": 800, "max_side": 700}, {"min_side": 8}, {"threads": 0}])
def test_options_out_of_range_are_profile_errors(options: dict[str, int]) -> None:
    with pytest.raises(ProfileError) as caught:
        BACKENDS.create("rapidocr", options)
    assert caught.value.field in {"min_side", "threads"}


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(ProfileError, match="min_side"):
        BACKENDS.create("rapidocr", {"min_sides": 360})
