"""Parts of a request's pictures, and equal shares of them, against the host's own way of putting crops together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.llava_onevision.modeling_llava_onevision import unpad_image

from tools.vlm.primitives.budget import spread
from tools.vlm.primitives.crops import crop_of, parts, top_of_parts
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=60)


def cells(grid: Grid) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(grid.height), torch.arange(grid.width)) + 0.5


@law
@given(st.integers(1, 3), st.integers(1, 3), st.integers(60, 640), st.integers(60, 640))
def test_a_cell_lies_in_the_crop_that_the_host_took_it_from(rows: int, columns: int, height: int, width: int) -> None:
    side = 14
    numbers = torch.arange(rows * columns).view(rows, columns)
    padded = numbers.repeat_interleave(side, 0).repeat_interleave(side, 1)
    packed = unpad_image(padded[None], (height, width))[0]
    grid = Grid(packed.shape[0], packed.shape[1], part="mosaic", tiles=(rows, columns))
    # The host chooses tiles so that the picture fills one axis of all of them.
    assert packed.shape[0] == rows * side or packed.shape[1] == columns * side
    if min(packed.shape) > 0:
        assert torch.equal(crop_of(cells(grid), grid), packed.flatten())


def test_a_mosaic_that_was_scaled_down_keeps_its_crops() -> None:
    grid = Grid(20, 15, part="mosaic", tiles=(4, 3))
    expected = torch.arange(12).view(4, 3).repeat_interleave(5, 0).repeat_interleave(5, 1)
    assert torch.equal(crop_of(cells(grid), grid), expected.flatten())


def test_parts_are_frames_pictures_and_crops() -> None:
    grids = (Grid(2, 2, part="base"), Grid(2, 4, part="mosaic", tiles=(1, 2)), Grid(1, 3, time=1.0))
    tokens = VisualTokens.full(torch.zeros(15, 1), grids)
    expected = [[0, 1, 2, 3], [4, 5, 8, 9], [6, 7, 10, 11], [12, 13, 14]]
    assert [part.tolist() for part in parts(tokens)] == expected
    thinned = tokens.gather(torch.tensor([1, 5, 7, 11, 14]))
    assert [part.tolist() for part in parts(thinned)] == [[0], [1], [2, 3], [4]]
    scores = torch.tensor([0.0, 1, 1, 2, *range(8), 3, 3, 3])
    assert top_of_parts(scores, parts(tokens), [2, 1, 0, 2]).tolist() == [3, 1, 9, 12, 13]


@law
@given(st.lists(st.integers(0, 9), max_size=9), st.data())
def test_spread_is_exact_proportional_and_even(sizes: list[int], data: st.DataObject) -> None:
    whole = sum(sizes)
    total = data.draw(st.integers(0, whole))
    shares = spread(total, sizes)
    assert sum(shares) == total
    for share, size in zip(shares, sizes, strict=True):
        assert 0 <= share <= size
        assert whole == 0 or abs(share - total * size / whole) < 1
    # No run of parts is favoured either.
    for end in range(len(sizes) + 1):
        assert whole == 0 or abs(sum(shares[:end]) - total * sum(sizes[:end]) / whole) <= 0.5


def test_spread_over_more_parts_than_units() -> None:
    assert spread(3, [4] * 9) == [0, 1, 0, 0, 1, 0, 0, 1, 0]
    assert spread(0, []) == []
    with pytest.raises(ValueError, match="do not fit"):
        spread(5, [2, 2])
