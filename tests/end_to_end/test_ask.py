"""Questions about real files, through the real tools of the embedded profile, in this process."""

import asyncio
from pathlib import Path

import pytest

from agents.loupe import Loupe
from agents.question import Question
from evals.synth.script import Caption, Scene, Script, Slide
from evals.synth.write import write
from tests.end_to_end.conftest import ask, cites
from tools.media.span import Span

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 s: a slide, then a caption, without a sound track worth hearing."""
    path = tmp_path_factory.mktemp("slides") / "slides.mp4"
    events = (
        Scene(span=Span.of(0, 12), texture="plain", tint=3),
        Scene(span=Span.of(12, 24), texture="stripes", tint=60),
        Slide(span=Span.of(1, 11), title="Harbor Works", lines=("Budget: 740 euros", "Workers: 28")),
        Caption(span=Span.of(14, 22), text="Ferry leaves from Pier 9"),
    )
    write(Script(seed=5, duration=24.0, events=events), path)
    return path


def test_speech_of_a_real_film(loupe: Loupe, shared_data: Path) -> None:
    answer = ask(loupe, shared_data / "nasa_13013.mp4", "What telescope is this segment of?")
    assert "webb" in answer.answer.lower()
    assert answer.verdict == "grounded"
    assert cites(answer, "speech", Span.of(0, 8))


def test_text_on_screen(loupe: Loupe, slides: Path) -> None:
    answer = ask(loupe, slides, "How many workers are there according to the slide?")
    assert "28" in answer.answer
    assert cites(answer, "text", Span.of(1, 11))
    answer = ask(loupe, slides, "What does the caption say about the ferry?")
    assert "Pier 9" in answer.answer
    assert cites(answer, "text", Span.of(14, 22))


def test_a_choice_is_named_by_its_letter(loupe: Loupe, slides: Path) -> None:
    answer = ask(loupe, slides, "From where does the ferry leave?", "Pier 2", "Main Square", "Pier 9")
    assert answer.option == "C"


def test_what_is_not_there_is_not_found(loupe: Loupe, slides: Path) -> None:
    answer = ask(loupe, slides, "What is written about the elephant?")
    assert answer.verdict == "not_found"
    assert answer.citations == ()
    assert answer.searched


def test_the_budget_holds_and_the_trace_is_there(loupe: Loupe, slides: Path) -> None:
    answer = ask(loupe, slides, "What is written about the budget?", steps=3)
    assert answer.cost.steps <= 3
    trace = loupe.traces.open(answer.trace_id)
    assert trace.result == answer
    assert any(event.tool for event in trace.events)


def test_two_videos_are_told_apart(loupe: Loupe, slides: Path, shared_data: Path) -> None:
    for path in (slides, shared_data / "nasa_13013.mp4"):
        asyncio.run(loupe.index(str(path)))
    answer = asyncio.run(loupe.ask(Question(text="What does the caption say about the ferry?")))
    assert {one.video_id for one in answer.citations} == {loupe.find(str(slides)).id}
