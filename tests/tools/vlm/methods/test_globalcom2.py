"""GlobalCom2: how many tokens each crop gets, and which."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.methods.scored import best, frames, towerless, visual
from tools.errors import BadInput
from tools.vlm.compression import make_method
from tools.vlm.methods.globalcom2 import GlobalCom2
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=40)
CLS = Signal("cls", layer=-1, logits=True)
RECEIVED = Signal("received")


def still(scores: torch.Tensor, signal: Signal, side: int = 6, tiles: tuple[int, int] = (2, 2)) -> VisualTokens:
    base = Grid(side, side, part="base")
    mosaic = Grid(side * tiles[0], side * tiles[1], part="mosaic", tiles=tiles)
    return visual((base, mosaic), (signal, scores))


@law
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 50)), min_size=1, max_size=6), st.data())
def test_budgets_are_exact_and_rise_with_the_thumbnail(crops: list[tuple[int, int]], data: st.DataObject) -> None:
    thumbnail = data.draw(st.integers(1, 50))
    sizes = [size for _, size in crops]
    total = data.draw(st.integers(1, thumbnail + sum(sizes)))
    shares = GlobalCom2().shares(total, thumbnail, [mass for mass, _ in crops], sizes)
    assert sum(shares) == total
    assert all(0 <= share <= size for share, size in zip(shares, [thumbnail, *sizes], strict=True))
    masses = [mass for mass, _ in crops]
    alike = GlobalCom2().shares(min(total, 20), thumbnail, masses, [20] * len(crops))[1:]
    for (one, more), (other, less) in itertools.permutations(zip(masses, alike, strict=True), 2):
        assert one <= other or more >= less


def test_published_budgets_of_one_crop_that_has_everything() -> None:
    # Overall 25 %: the crop with all the mass gets .4375, the others .1875, the thumbnail .25.
    assert GlobalCom2().shares(180, 144, [500.0, 0.0, 0.0, 0.0], [144] * 4) == [36, 63, 27, 27, 27]
    assert GlobalCom2().shares(180, 144, [70.0] * 4, [144] * 4) == [36, 36, 36, 36, 36]
    # Sums of attention weights are below one: all crops would get the same, within rounding.
    assert GlobalCom2().shares(180, 144, [0.7, 0.1, 0.1, 0.1], [144] * 4) == [36, 36, 36, 36, 36]


@pytest.mark.parametrize("kind", ["cls", "received"])
def test_the_informative_crop_keeps_more_under_either_signal(kind: Any) -> None:
    signal = CLS if kind == "cls" else RECEIVED
    scores = torch.rand(36 + 144, generator=torch.Generator().manual_seed(1))
    thumbnail = torch.zeros(6, 6)
    # The lower left crop shows what the thumbnail looks at: products of some ten, or weights below one.
    thumbnail[3:, :3] = 20.0 if kind == "cls" else 0.08
    scores[:36] = thumbnail.flatten()
    tokens = still(scores, signal)
    found = GlobalCom2().merge(tokens, towerless({kind})).check()
    assert len(found) == 45
    row, column = found.position[found.position[:, 0] == 1, 1:].unbind(1)
    counts = torch.bincount((row // 6) * 2 + column // 6, minlength=4).tolist()
    # On grids of the usual size weights, too, add up to enough to give one crop most; this one is small.
    assert counts == ([7, 7, 15, 7] if kind == "cls" else [8, 8, 13, 7])
    assert int((found.position[:, 0] == 0).sum()) == 9


def bilinear(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """By definition: each place looks between the middles of the four patches around it."""
    rows, columns = picture.shape
    found = torch.zeros(height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            u = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            top, left = int(v), int(u)
            low, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            found[y, x] = (
                (1 - v + top) * (1 - u + left) * picture[top, left]
                + (1 - v + top) * (u - left) * picture[top, right]
                + (v - top) * (1 - u + left) * picture[low, left]
                + (v - top) * (u - left) * picture[low, right]
            )
    return found


@law
@given(st.integers(0, 9999), st.floats(0.1, 0.9), st.sampled_from([(2, 2), (1, 2), (3, 1)]))
def test_crops_keep_the_best_of_both_scores(seed: int, keep: float, tiles: tuple[int, int]) -> None:
    side, crops = 4, tiles[0] * tiles[1]
    scores = torch.rand(16 * (1 + crops), generator=torch.Generator().manual_seed(seed)) * 40 - 10
    tokens = still(scores, CLS, side, tiles)
    method = GlobalCom2(keep=keep)
    found = method.merge(tokens, towerless({"cls"})).index.tolist()
    assert len(found) == method.budget(len(tokens))
    guided = bilinear(scores[:16].view(4, 4).double(), 4 * tiles[0], 4 * tiles[1])
    own = scores[16:].view(4 * tiles[0], 4 * tiles[1]).double()
    for row in range(tiles[0]):
        for column in range(tiles[1]):
            part = (slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
            both = (own[part] / own[part].norm() + guided[part] / guided[part].norm()).flatten().tolist()
            cells = [16 + (4 * row + i // 4) * 4 * tiles[1] + 4 * column + i % 4 for i in range(16)]
            kept = [i for i in range(16) if cells[i] in found]
            assert sorted(both[i] for i in kept) == pytest.approx(sorted(sorted(both)[16 - len(kept) :]), abs=1e-5)


def test_pictures_without_crops_keep_their_best() -> None:
    scores = torch.rand(40, generator=torch.Generator().manual_seed(2))
    tokens = visual(frames(2), (RECEIVED, scores))
    found = GlobalCom2(keep=0.25).merge(tokens, towerless({"received"})).index.tolist()
    values = scores.tolist()
    assert found == best(values, list(range(20)), 5) + best(values, list(range(20, 40)), 5)


def test_a_thumbnail_that_was_thinned_before_still_guides() -> None:
    scores = torch.rand(16 * 5, generator=torch.Generator().manual_seed(4))
    for gone in (range(8), range(16)):
        keep = torch.ones(80, dtype=torch.bool)
        keep[list(gone)] = False
        tokens = still(scores, RECEIVED, 4).gather(keep)
        assert len(GlobalCom2(keep=0.5).merge(tokens, towerless({"received"})).check()) == (80 - len(gone)) // 2


def test_a_temperature_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        make_method("globalcom2", {"temperature": "0"})
    assert caught.value.field == "temperature"
