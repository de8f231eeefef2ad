"""FoPru: the best patches, and the best whole rows."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.methods.scored import best, frames, random, towerless, visual
from tools.errors import BadInput
from tools.vlm.methods.fopru import FoPru
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=40)
RECEIVED = Signal("received")


def merged(method: FoPru, grids: tuple[Grid, ...], scores: torch.Tensor) -> VisualTokens:
    return method.merge(visual(grids, (RECEIVED, scores)), towerless({"received"}))


@law
@given(st.integers(1, 3), st.integers(0, 999), st.integers(1, 20))
def test_rank_is_the_top_of_every_frame(count: int, seed: int, each: int) -> None:
    scores = (random(seed, count * 20) * 2).round()
    found = merged(FoPru(tokens=each * count), frames(count), scores)
    values = scores.tolist()
    assert found.index.tolist() == [
        i for at in range(count) for i in best(values, list(range(at * 20, at * 20 + 20)), each)
    ]


@law
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 999), st.data())
def test_row_keeps_the_best_set_of_whole_rows(height: int, width: int, seed: int, data: st.DataObject) -> None:
    scores = random(seed, height * width).abs()
    kept = data.draw(st.integers(1, height * width))
    found = merged(FoPru(tokens=kept, variant="row"), (Grid(height, width),), scores)
    rows = -(-kept // width)
    sums = scores.view(height, width).sum(1)
    expected = max(itertools.combinations(range(height), rows), key=lambda some: float(sums[list(some)].sum()))
    assert len(found) == rows * width
    assert torch.unique(found.position[:, 1]).tolist() == list(expected)
    assert kept <= len(found) < kept + width


def test_rows_are_chosen_crop_by_crop() -> None:
    grids = (Grid(2, 2, part="base"), Grid(2, 4, part="mosaic", tiles=(1, 2)))
    scores = torch.tensor([1.0, 0, 0, 0, *[1, 0, 0, 0], *[0, 0, 1, 0]])
    found = merged(FoPru(keep=0.5, variant="row"), grids, scores)
    assert found.index.tolist() == [0, 1, 4, 5, 10, 11]


def test_even_attention_is_decided_by_the_index() -> None:
    assert merged(FoPru(tokens=3), frames(1), torch.ones(20)).index.tolist() == [0, 1, 2]
    assert merged(FoPru(tokens=6, variant="row"), frames(1), torch.ones(20)).index.tolist() == list(range(10))


def test_budgets() -> None:
    assert FoPru(keep=0.25).count(576) == 144
    assert FoPru(keep=0.25, variant="row").count(576) is None
    assert FoPru(keep=1.0, variant="row").count(576) == 576
    with pytest.raises(BadInput):
        FoPru(keep=2.0, variant="row").count(576)
    # Half of 14 rows is seven rows and not eight.
    assert len(merged(FoPru(keep=0.5, variant="row"), (Grid(14, 14),), torch.rand(196))) == 98
