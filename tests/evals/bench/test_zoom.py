"""The bench of zooming adds up answers fairly and refuses a model that cannot take the frames; zooming pays."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.answer import Answer
from agents.question import Question
from evals.bench.zoom import WAYS, Way, _measure, run
from evals.synth.scenes.benchmark import Needle, benchmark
from tools.errors import ProfileError
from tools.evidence import Cost


class Loupe:
    """Answers the first option after one look, and remembers what it was asked."""

    def __init__(self, *notes: str) -> None:
        self.asked: list[Question] = []
        self._notes = notes

    async def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        cost = Cost(steps=2, tool_calls={"look": 1}, frames_decoded=30, visual_tokens_in=512, visual_tokens_kept=512)
        return Answer(
            answer=question.options[0],
            option="A",
            confidence=0.5,
            verdict="grounded",
            citations=(),
            sub_questions=(),
            trace_id="t",
            cost=cost,
            stopped="answered",
            notes=self._notes,
        )


@pytest.fixture(scope="module")
def needles() -> tuple[Needle, ...]:
    return benchmark(1, 0).needles


def measure(loupe: Any, way: Way, needles: tuple[Needle, ...]) -> dict[str, Any]:
    return asyncio.run(_measure(loupe, way, {"film": needles}))


def test_a_row_adds_up_its_answers(needles: tuple[Needle, ...]) -> None:
    loupe = Loupe()
    row = measure(loupe, WAYS[0], needles)
    right = sum(needle.answer == "A" for needle in needles)
    assert (row["questions"], row["right"], row["found"]) == (len(needles), right, len(needles))
    assert row["accuracy"] == pytest.approx(right / len(needles), abs=1e-3)
    assert (row["frames"], row["visual_tokens"], row["looks"]) == (30, 512, 1)
    assert [question.text for question in loupe.asked] == [needle.question for needle in needles]
    assert {question.strategy for question in loupe.asked} == {"uniform"}
    assert {question.budget.frames for question in loupe.asked} == {8}


def test_every_way_has_its_own_name_and_both_zooms_are_left_out_once() -> None:
    assert len({way.name for way in WAYS}) == len(WAYS)
    assert [way.options for way in WAYS if way.options] == [(("space", False),), (("time", False),)]


def test_a_look_that_fails_is_no_wrong_answer(needles: tuple[Needle, ...]) -> None:
    with pytest.raises(ProfileError, match="uniform 8: look failed: too many frames"):
        measure(Loupe("look failed: too many frames"), WAYS[0], needles)


@pytest.mark.slow
def test_zooming_pays_on_a_film_of_a_minute(tmp_path: Path) -> None:
    chosen = [way for way in WAYS if way.name in ("uniform 128", "zoom")]
    uniform, zoom = run(tmp_path, films=[(1, 0)], ways=chosen)
    assert uniform["questions"] == zoom["questions"] == len(benchmark(1, 0).needles)
    assert zoom["accuracy"] >= uniform["accuracy"] + 0.2
    assert zoom["visual_tokens"] * 5 <= uniform["visual_tokens"]
    assert (tmp_path / "needles-1-0.mp4").exists()
