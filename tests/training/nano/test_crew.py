"""Sharing a step's work: the same gradients, whoever found them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tools.errors import LoupeError
from training.nano import batches
from training.nano.config import Mix, Stage, recipe
from training.nano.crew import Crew
from training.nano.learner import Learner
from training.nano.models import build
from training.nano.vocabulary import learn

SIZES = replace(recipe("tiny").sizes, samples=10)
STAGE = Stage("all", 1.0, (Mix(batch=3, turns=2),), dense=1.0, words=1.0, contrast=1.0)


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Crew, Learner, Path]]:
    """Two processes, the models they share and the vocabulary's file."""
    tokens = tmp_path_factory.mktemp("crew") / "tokens.json"
    tokenizer = learn(batches.sentences(SIZES.samples, 0), SIZES.vocabulary)
    tokenizer.save(str(tokens))
    torch.manual_seed(0)
    learner = Learner(build(SIZES, tokenizer))
    with closing(Crew(learner, SIZES, tokens, processes=2)) as made:
        yield made, learner, tokens


@pytest.mark.parametrize("tower", [0.0, 1.0])
def test_parts_add_up(crew: tuple[Crew, Learner, Path], tower: float) -> None:
    both, learner, tokens = crew
    stage = replace(STAGE, tower=tower)
    (batch,) = batches.draw(batches.Job("train", 0, 0, stage.mixes[0], batches=1), tokens)
    learner.hold_tower(tower == 0)
    found = both.learn(batch, stage)
    shared = _gradients(learner)
    parts = [slice(0, 1), slice(1, 3)]
    losses = [learner.learn(batch.part(part), stage, (part.stop - part.start) / 3) for part in parts]
    alone = _gradients(learner)
    assert shared.keys() == alone.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(shared[name], gradient, msg=name)
    assert found == pytest.approx({name: losses[0][name] / 3 + losses[1][name] * 2 / 3 for name in losses[0]})


def test_helpers_see_a_step_at_once(crew: tuple[Crew, Learner, Path]) -> None:
    both, learner, tokens = crew
    (batch,) = batches.draw(batches.Job("train", 0, 9, STAGE.mixes[0], batches=1), tokens)
    learner.hold_tower(False)
    before = both.learn(batch, STAGE)
    with torch.no_grad():
        for parameter in learner.parts.parameters():
            parameter.sub_(0.05 * parameter.grad if parameter.grad is not None else 0.0)
    _gradients(learner)
    after = both.learn(batch, STAGE)
    parts = [slice(0, 1), slice(1, 3)]
    alone = [learner.learn(batch.part(part), STAGE) for part in parts]
    assert after != before
    assert after == pytest.approx({name: alone[0][name] / 3 + alone[1][name] * 2 / 3 for name in before})
    _gradients(learner)


def test_a_dead_helper_is_an_error(crew: tuple[Crew, Learner, Path]) -> None:
    _, learner, tokens = crew
    (batch,) = batches.draw(batches.Job("train", 0, 0, STAGE.mixes[0], batches=1), tokens)
    with closing(Crew(learner, SIZES, tokens, processes=2)) as mortal:
        mortal._helpers[0]._process.kill()
        with pytest.raises(LoupeError, match="has died"):
            mortal.learn(batch, STAGE)


def _gradients(learner: Learner) -> dict[str, torch.Tensor]:
    """The gradients, which are forgotten."""
    found = {}
    for name, parameter in learner.parts.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad.clone()
            parameter.grad = None
    return found
