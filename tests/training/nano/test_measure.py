"""Measurements against slow and obvious ones, and the card that states them."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evals.synth.scenes import Sample, Scenes, Turn
from evals.synth.scenes.vocabulary import UNSEEN
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine
from tools.vlm.loading import load_host
from training.nano import measure
from training.nano.card import _interval, card
from training.nano.config import Sizes, recipe
from training.nano.measure import Answered, Question
from training.nano.models import Models, export


def _question(turn: Turn | None = None) -> Question:
    sample = Scenes("test").picture(0, turns=1)
    return Question("picture", sample, turn or sample.turns[0])


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60))
def test_calibration_error(rows: list[tuple[bool, float]]) -> None:
    question = Question("picture", None, None)  # type: ignore[arg-type]
    found = measure.calibration_error([Answered(question, right, sure) for right, sure in rows])
    expected = 0.0
    for low in range(15):
        inside = [row for row in rows if min(int(row[1] * 15), 14) == low]
        if inside:
            right = sum(good for good, _ in inside) / len(inside)
            sure = sum(value for _, value in inside) / len(inside)
            expected += len(inside) / len(rows) * abs(right - sure)
    assert found == pytest.approx(expected)


@dataclass
class _Overconfident:
    """An engine that is too sure of itself by a known factor, and tells methods so."""

    truth: float
    host: Any = field(default_factory=lambda: SimpleNamespace(calibrated=True))

    def run(self, requests: list[Any]) -> list[Any]:
        found = []
        for request in requests:
            chance = random.Random(request.question)
            logit = chance.uniform(0.2, 8)
            right = chance.random() < 1 / (1 + math.exp(-logit / self.truth))
            (listener,) = request.compression.methods
            listener.decode(torch.tensor([logit, 0.0]), None, None)
            found.append(SimpleNamespace(text="red" if right else "blue", ids=(0,)))
        return found


@pytest.mark.parametrize("truth", [0.6, 1.0, 2.5])
def test_temperature_finds_how_overconfident_an_engine_is(truth: float) -> None:
    engine = _Overconfident(truth)
    sample = Scenes("test").picture(0, turns=1)
    asked = [Question("picture", sample, Turn(f"Question {number}?", "red", "any")) for number in range(4000)]
    assert measure.temperature(engine, asked) == pytest.approx(truth, rel=0.15)  # type: ignore[arg-type]


def test_confidence_at_another_temperature_is_what_the_engine_says_then(
    tiny: Callable[[str], Models], sizes: dict[str, Sizes], tmp_path: Path
) -> None:
    engine = Engine(load_host(export(tiny("llava"), sizes["llava"], tmp_path)))
    asked = measure.questions("validation", "picture", "near", 2)
    listener = measure._Listener()
    for question in asked:
        listener.logits.clear()
        request = measure._request(question, Compression((listener,)))
        (result,) = measure._results(engine, [request])
        assert listener.confidence(engine, request.question, result, 1.0) == pytest.approx(result.confidence)
        engine.host.temperature = 1.7
        (warm,) = measure._results(engine, [measure._request(question)])
        engine.host.temperature = 1.0
        assert listener.confidence(engine, request.question, result, 1.7) == pytest.approx(warm.confidence)


def test_accuracy_counts_by_kind_scale_and_family() -> None:
    near, far = Turn("a?", "x", "colour"), Turn("b?", "y", "colour", scale="far")
    rows = [Answered(_question(near), True, 1.0), Answered(_question(near), False, 1.0)]
    rows += [Answered(_question(far), True, 1.0)]
    assert measure.accuracy(rows) == {"picture near": {"colour": (1, 2)}, "picture far": {"colour": (1, 1)}}


class _ByHeart:
    """An engine that has learnt which pairs there are, and sees no other; it says what the test tells it."""

    def __init__(self, truths: dict[str, str]) -> None:
        self.truths = truths

    def run(self, requests: list[Any]) -> list[Any]:
        return [SimpleNamespace(text=self.truths.get(request.question, UNSEEN), confidence=1.0) for request in requests]


def test_pairs_that_training_never_shows_are_counted_apart() -> None:
    scenes = Scenes("test", 4)
    turns = [turn for index in range(12) for turn in scenes.pairs(index).turns]
    known = [turn for turn in turns if not turn.new]
    assert known
    assert len(known) < len(turns)
    found = measure.pairs(_ByHeart({turn.question: turn.answer for turn in turns}), 12, seed=4)  # type: ignore[arg-type]
    assert sum(asked for row in found.values() for _, asked in row.values()) == len(turns)
    assert sum(asked for _, asked in found["known"].values()) == len(known)
    nothing = measure.pairs(_ByHeart({}), 12, seed=4)  # type: ignore[arg-type]
    assert not any(right for row in nothing.values() for right, _ in row.values())
    assert found["new"]["presence of both"][0] == found["new"]["presence of both"][1] > 0


def test_questions_are_as_many_of_each_family() -> None:
    asked = measure.questions("validation", "picture", "near", 3)
    families = [question.turn.family for question in asked]
    assert {families.count(family) for family in set(families)} == {3}
    assert {"colour", "shape", "presence", "count", "unseen"} <= set(families)
    assert asked == sorted(asked, key=lambda question: question.turn.family)


def test_prior_says_what_is_commonest() -> None:
    sample: Sample = Scenes("train").picture(0)
    asked = [
        Question("picture", sample, Turn("A question that was never asked?", answer, "presence"))
        for answer in ("yes", "no", "purple")
    ]
    right, count = measure.prior(asked, seen=60)["picture near"]["presence"]
    assert (right, count) == (1, 3)


def test_interval_is_wilsons() -> None:
    low, high = _interval(90, 100)
    # The bounds are where a share that large or small would just be 1.96 standard errors away.
    for bound in (low, high):
        assert abs(0.9 - bound) == pytest.approx(1.96 * math.sqrt(bound * (1 - bound) / 100), rel=1e-6)
    assert _interval(0, 10)[0] == 0.0
    assert _interval(10, 10)[1] == pytest.approx(1.0)


def test_card_states_what_was_measured() -> None:
    measured = {
        "host": "llava",
        "accuracy": {"picture near": {"colour": (190, 200)}, "picture far": {"colour": (50, 200)}},
        "prior": {"picture near": {"colour": (20, 200)}},
        "pairs": {"known": {"place of both": (63, 70)}, "new": {"place of both": (4, 40)}},
        "calibration_error": {"near": 0.031, "all": 0.042},
        "temperature": 1.3,
        "cost": {"load_seconds": 0.5, "look_seconds": 0.25, "bytes": 20_000_000},
        "recall_at_5": (187, 200),
    }
    run = {"config": "nano", "stages": ["tower 25%", "answers 75%"], "steps": 1000, "seconds": 7200.0, "changes": 0}
    facts = {"parameters": 6_700_000, "vocabulary": 736, "run": run}
    text = card(recipe("nano").limited(steps=1000), facts, measured)
    for part in ("loupe-nano", "6.7 million", "0.950 (0.91-0.97, n=200)", "0.250 (", "0.100 (", "0.031", "0.042", "1.3",
                 "| place of both | 0.900 (0.81-0.95, n=70) | 0.100 (",
                 "187", "0.935", "1000 steps in 2.00 hours", "--steps 1000", "20.0 MB"):  # fmt: skip
        assert part in text, part
    assert "{" not in text
    assert "two vowels" not in text
    assert "beside a thing" not in text
    text = " ".join(card(recipe("nano"), {**facts, "run": {**run, "changes": 2}}, measured).split())
    assert "changed on the way, 2 times" in text
    assert "gives the same parameters" not in text
    assert "In 50% of the samples" in text
    text = card(recipe("nano-qwen"), facts, {**measured, "host": "qwen2_5_vl", "recall_at_5": None})
    assert "no contrastive tower" in text
    assert text.count("* Words with two vowels") == text.count("* What stands beside a thing in a clip") == 1
    assert "swapped" not in text
    assert "search/" not in text
