"""Tokens keep their account: mass, owner, order and position survive every gather and merge."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=40)
GRIDS = (Grid(2, 3, 0.0), Grid(1, 4, 0.5), Grid(2, 2, 1.0))
CELLS = 14
KEYS = Signal("keys")


def tokens(seed: int = 0, dtype: torch.dtype = torch.float32) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(CELLS, 5, generator=generator).to(dtype)
    signals = {KEYS: torch.randn(CELLS, 2, generator=generator), Signal("cls"): torch.rand(CELLS, generator=generator)}
    extras = (torch.randn(CELLS, 5, generator=generator).to(dtype),)
    return VisualTokens.full(features, GRIDS, signals, extras).check()


@st.composite
def assignments(draw: st.DrawFn, count: int) -> list[int]:
    survivors = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))
    goes = [draw(st.sampled_from([*survivors, -1])) for _ in range(count)]
    return [place if place in survivors else target for place, target in enumerate(goes)]


def test_a_full_set_is_one_token_a_cell_in_raster_order() -> None:
    full = tokens()
    assert len(full) == full.patches == CELLS
    assert full.position.tolist()[:7] == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 1], [0, 1, 2], [1, 0, 0]]
    assert [(grid.cells, index.tolist()) for grid, index in full.by_grid()] == [
        (6, list(range(6))),
        (4, list(range(6, 10))),
        (4, list(range(10, 14))),
    ]


@law
@given(st.sets(st.integers(0, CELLS - 1)), st.data())
def test_gather_takes_everything_along(keep: set[int], data: st.DataObject) -> None:
    full = tokens()
    order = data.draw(st.permutations(sorted(keep)))
    some = full.gather(torch.tensor(order, dtype=torch.long)).check()
    index = sorted(keep)
    assert some.index.tolist() == index
    assert torch.equal(some.features, full.features[index])
    assert torch.equal(some.extras[0], full.extras[0][index])
    assert torch.equal(some.signals[KEYS], full.signals[KEYS][index])
    assert int(some.mass.sum()) == len(keep)
    assert [cell for cell in range(CELLS) if some.owner[cell] >= 0] == index
    mask = torch.zeros(CELLS, dtype=torch.bool)
    mask[index] = True
    assert torch.equal(full.gather(mask).owner, some.owner)


@law
@given(st.data())
def test_merge_is_the_weighted_mean_of_what_went_there(data: st.DataObject) -> None:
    full = tokens()
    current, owner = full, list(range(CELLS))
    for _ in range(2):
        assign = data.draw(assignments(len(current)))
        weights = data.draw(st.one_of(st.none(), st.lists(st.floats(0.1, 3), min_size=CELLS, max_size=CELLS)))
        weight = current.mass if weights is None else torch.tensor(weights[: len(current)])
        merged = current.merge(torch.tensor(assign), weights=None if weights is None else weight).check()
        survivors = [place for place, target in enumerate(assign) if place == target]
        for row, survivor in enumerate(survivors):
            group = [place for place, target in enumerate(assign) if target == survivor]
            share = weight[group] / weight[group].sum()
            for ours, theirs in (
                (merged.features[row], current.features[group]),
                (merged.extras[0][row], current.extras[0][group]),
                (merged.signals[KEYS][row], current.signals[KEYS][group]),
            ):
                torch.testing.assert_close(ours, (share[:, None] * theirs).sum(0), atol=1e-5, rtol=1e-5)
            if len(group) == 1:
                assert torch.equal(merged.features[row], current.features[survivor])
        assert merged.index.tolist() == current.index[survivors].tolist()
        # Follow every patch by hand.
        owner = [survivors.index(assign[token]) if token >= 0 and assign[token] >= 0 else -1 for token in owner]
        assert merged.owner.tolist() == owner
        current = merged


def test_weights_of_zero_leave_the_survivor() -> None:
    full = tokens()
    assign = torch.zeros(CELLS, dtype=torch.long)
    merged = full.merge(assign, weights=torch.zeros(CELLS)).check()
    assert torch.equal(merged.features[0], full.features[0])
    assert merged.mass.tolist() == [CELLS]


def test_given_features_replace_the_mean_and_dtype_stays() -> None:
    full = tokens(dtype=torch.bfloat16)
    assign = torch.arange(CELLS) // 2 * 2
    merged = full.merge(assign, features=torch.ones(7, 5)).check()
    assert merged.features.dtype == torch.bfloat16
    assert bool((merged.features == 1).all())
    assert full.merge(assign).features.dtype == torch.bfloat16


def test_keeping_everything_is_the_same_object() -> None:
    full = tokens()
    assert full.gather(torch.arange(CELLS)) is full
    assert full.merge(torch.arange(CELLS)) is full


def test_expand_puts_owners_back_on_the_grid() -> None:
    full = tokens()
    merged = full.merge(torch.arange(CELLS) // 2 * 2)
    assert torch.equal(merged.expand(), merged.features[torch.arange(CELLS) // 2])
    with pytest.raises(ValueError, match="dropped"):
        full.gather(torch.tensor([1])).expand()


def test_a_token_cannot_go_to_one_that_is_gone() -> None:
    with pytest.raises(ValueError, match="survives"):
        tokens().merge(torch.tensor([1, 2, 2, *range(3, CELLS)]))


@pytest.mark.parametrize(
    "change",
    [
        {"mass": torch.full((CELLS,), 2.0)},
        {"index": torch.arange(CELLS).flip(0)},
        {"owner": torch.full((CELLS,), CELLS)},
        {"position": torch.zeros(CELLS, 3, dtype=torch.long)},
        {"extras": (torch.zeros(3, 5),)},
    ],
)
def test_check_notices_a_broken_account(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"token|mass|owner|position|cell"):
        replace(tokens(), **change).check()  # type: ignore[arg-type]
