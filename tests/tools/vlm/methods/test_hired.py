"""HiRED: exact shares, and the crop that really shows a patch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.methods.scored import best, frames, random, towerless, visual
from tools.errors import BadInput
from tools.vlm.methods.hired import HiRED
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=40)
EARLY, LATE = Signal("cls", layer=0, heads="sum"), Signal("cls", heads="sum")


def still(rows: int, columns: int, side: int = 8) -> tuple[Grid, ...]:
    mosaic = Grid(rows * side, columns * side, part="mosaic", tiles=(rows, columns))
    return (Grid(side, side, part="base"), mosaic)


def tokens(grids: tuple[Grid, ...], early: torch.Tensor | None = None, seed: int = 0) -> VisualTokens:
    count = sum(grid.cells for grid in grids)
    scores = random(seed, count) if early is None else early
    return visual(grids, (EARLY, scores), (LATE, random(seed + 1, count)))


def by_part(found: VisualTokens, grids: tuple[Grid, ...], side: int = 8) -> list[int]:
    """Kept tokens of the whole picture and of each crop of a mosaic without padding."""
    t, y, x = found.position.T
    crop = torch.where(t == 0, 0, 1 + (y // side) * grids[1].tiles[1] + x // side)
    return torch.bincount(crop, minlength=1 + grids[1].tiles[0] * grids[1].tiles[1]).tolist()


@pytest.mark.parametrize("quadrant", range(4))
def test_the_crop_with_all_the_content_gets_the_whole_rest(quadrant: int) -> None:
    grids = still(2, 2)
    early = torch.zeros(64 + 256)
    top, left = 4 * (quadrant // 2), 4 * (quadrant % 2)
    early[:64].view(8, 8)[top : top + 4, left : left + 4] = 1.0
    # A quarter of the whole picture counts as content: just what lies in the quadrant.
    found = HiRED(tokens=64, alpha=0.75).merge(tokens(grids, early), towerless())
    expected = [48, 0, 0, 0, 0]
    expected[1 + quadrant] = 16
    assert by_part(found, grids) == expected
    strips = HiRED(tokens=64, alpha=0.75, mapping="strips").merge(tokens(grids, early), towerless())
    assert by_part(strips, grids) != expected


@pytest.mark.parametrize(("rows", "columns", "wrong"), [(2, 2, 1 / 2), (1, 2, 1 / 2), (1, 3, 2 / 3), (3, 1, 0.0)])
def test_strips_credit_the_wrong_crop(rows: int, columns: int, wrong: float) -> None:
    grids = still(rows, columns, side=12)
    whole = tokens(grids)
    base = torch.arange(144)
    area = HiRED().crop_places(whole, base, grids[1])
    y, x = base // 12, base % 12
    assert torch.equal(area, (y * rows // 12) * columns + x * columns // 12)
    strips = HiRED(mapping="strips").crop_places(whole, base, grids[1])
    assert float((strips != area).float().mean()) == pytest.approx(wrong)


def test_padding_shifts_the_border_between_crops() -> None:
    # Three rows of crops of 8 cells, of which the picture fills the 12 rows of cells in the middle.
    mosaic = Grid(12, 8, part="mosaic", tiles=(3, 1))
    whole = tokens((Grid(12, 8, part="base"), mosaic))
    crop = HiRED().crop_places(whole, torch.arange(96), mosaic).view(12, 8)[:, 0]
    assert crop.tolist() == [0, 0, *[1] * 8, 2, 2]


@law
@given(st.integers(1, 2), st.integers(1, 3), st.floats(0, 1), st.integers(0, 999), st.data())
def test_shares_are_exact_and_in_proportion(
    rows: int, columns: int, alpha: float, seed: int, data: st.DataObject
) -> None:
    grids = still(rows, columns)
    whole = tokens(grids, seed=seed)
    total = data.draw(st.integers(1, len(whole)))
    method = HiRED(tokens=total, alpha=alpha)
    found = method.merge(whole, towerless())
    assert len(found) == total
    counts = by_part(found, grids)
    crops = rows * columns
    assert counts[0] == min(max(int(total * alpha), total - 64 * crops), min(total, 64))
    content = best(whole.signals[EARLY][:64].tolist(), list(range(64)), int(64 * (1 - alpha)))
    votes = [0] * crops
    for place in content:
        # The crop that shows the middle of the patch.
        votes[((2 * (place // 8) + 1) * rows // 16) * columns + (2 * (place % 8) + 1) * columns // 16] += 1
    rest = total - counts[0]
    ideal = [rest * vote / max(1, len(content)) if content else rest / crops for vote in votes]
    if all(share <= 64 for share in ideal):
        for share, goal in zip(counts[1:], ideal, strict=True):
            assert abs(share - goal) < 1
    # Every part keeps the best of its own.
    late = whole.signals[LATE].tolist()
    y, x = torch.arange(64 * crops) // (8 * columns), torch.arange(64 * crops) % (8 * columns)
    inside = (y // 8) * columns + x // 8
    expected = best(late, list(range(64)), counts[0])
    for crop in range(crops):
        expected += best(late, (64 + torch.nonzero(inside == crop)[:, 0]).tolist(), counts[1 + crop])
    assert found.index.tolist() == sorted(expected)


def test_frames_get_equal_shares_and_everything_is_identity() -> None:
    found = HiRED(tokens=12).merge(tokens(frames(4)), towerless())
    assert torch.bincount(found.position[:, 0]).tolist() == [3, 3, 3, 3]
    whole = tokens(still(2, 2))
    assert HiRED(keep=1.0).merge(whole, towerless()) is whole


def test_alpha_is_a_share() -> None:
    with pytest.raises(BadInput) as caught:
        HiRED(alpha=1.2)
    assert caught.value.field == "alpha"
