"""Which crop of a still a cell belongs to, and tokens part by part: frame, whole picture, crop."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tools.vlm.tokens import Grid, VisualTokens


def crop_of(centre: Tensor, grid: Grid) -> Tensor:
    """The crop of a mosaic in which each point lies, int64 ``[N]``, crops counted in raster order.

    A mosaic is its square crops side by side, less the padding at two opposite edges, and maybe scaled down: along the
    one axis it is as long as its tiles, along the other it lies in their middle.

    Args:
        centre: ``[N, 2]``, (y, x) in cells of ``grid``; a cell's own middle is its position plus one half.
    """
    rows, columns = grid.tiles
    side = max(grid.height / rows, grid.width / columns)
    cells, tiles = centre.new_tensor([grid.height, grid.width]), centre.new_tensor(grid.tiles)
    place = ((centre + (side * tiles - cells) / 2) / side).floor().long()
    return place[:, 0].clamp(0, rows - 1) * columns + place[:, 1].clamp(0, columns - 1)


def crops(tokens: VisualTokens, grid: Grid, index: Tensor) -> list[Tensor]:
    """The tokens ``index`` of one picture crop by crop (one crop if it is not a mosaic), empty crops included."""
    crop = crop_of(tokens.position[index, 1:] + 0.5, grid)
    return [index[crop == place] for place in range(grid.tiles[0] * grid.tiles[1])]


def parts(tokens: VisualTokens) -> list[Tensor]:
    """Indices int64 of the tokens of every part, in order: each frame, each whole picture, each crop."""
    return [part for grid, index in tokens.by_grid() for part in crops(tokens, grid, index)]


def top_of_parts(scores: Tensor, parts: Sequence[Tensor], shares: Sequence[int]) -> Tensor:
    """The best ``shares[i]`` of each part i by ``scores [N]``, int64; ties go to the lower index."""
    chosen = [
        index[torch.argsort(scores[index], descending=True, stable=True)[:share]]
        for index, share in zip(parts, shares, strict=True)
    ]
    return torch.cat(chosen)
