"""The demo video can be asked what the demo asks."""

import pytest

from evals.synth.demo import DURATION, demo_questions, demo_script
from evals.synth.truth import truth_of

TRUTH = truth_of(demo_script())


def test_it_lasts_five_minutes_and_every_stop_has_its_scene() -> None:
    assert TRUTH.duration == DURATION == 300
    assert TRUTH.shots[-1].span.end == 300
    for earlier, later in zip(TRUTH.shots, TRUTH.shots[1:], strict=False):
        assert earlier.span.end == later.span.start


def test_no_sentence_runs_over_a_cut() -> None:
    for said in TRUTH.said:
        (shot,) = [shot for shot in TRUTH.shots if shot.span.overlaps(said.span)]
        assert shot.span.start < said.span.start < said.span.end < shot.span.end


@pytest.mark.parametrize("word", ["friday", "microscope"])
def test_what_is_asked_about_is_said_once_and_never_written(word: str) -> None:
    assert sum(said.text.lower().count(word) for said in TRUTH.said) == 1
    assert not any(word in line.text.lower() for line in TRUTH.written)


@pytest.mark.parametrize("text", ["314", "4471"])
def test_what_is_read_is_written_once_and_never_said(text: str) -> None:
    assert sum(line.text.count(text) for line in TRUTH.written) == 1
    assert not any(text in said.text for said in TRUTH.said)


def test_the_caption_is_the_first_thing_to_appear_after_the_microscope() -> None:
    mention = next(word.span for said in TRUTH.said for word in said.words if word.text == "microscope")
    following = [line for line in TRUTH.written if line.span.start >= mention.start]
    assert following[0].text == "Sample 4471 from Blue Bay"
    assert 0 < following[0].span.start - mention.end < 1
    assert not any(clock.span.overlaps(following[0].span) for clock in TRUTH.clocks)
    assert not any(line.span.overlaps(mention) for line in TRUTH.written)


def test_the_expected_answers_lie_in_the_expected_spans() -> None:
    for question in demo_questions():
        texts = {
            "speech": [said.text for said in TRUTH.said if said.span == question.span],
            "text": [line.text for line in TRUTH.written if line.span == question.span],
            "visual": [thing.label for thing in TRUTH.shown if thing.span == question.span],
        }[question.kind]
        assert any(all(word.lower() in text.lower() for word in question.answer) for text in texts)
