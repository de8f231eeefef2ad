"""Visual tokens with everything that belongs to them, and the account of where every patch went."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from tools.vlm.signals import Signal


@dataclass(frozen=True)
class Grid:
    """The lattice of cells of one picture (a frame, or a part of a still that the host cuts into crops).

    Attributes:
        height, width: cells.
        time: presentation seconds of the picture (mean where a host fuses several frames).
        part: ``frame``; or of a still ``base`` (the whole picture, small) and ``mosaic`` (its crops put together).
        tiles: rows and columns of crops in a mosaic.
    """

    height: int
    width: int
    time: float = 0.0
    part: Literal["frame", "base", "mosaic"] = "frame"
    tiles: tuple[int, int] = (1, 1)

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return self.height * self.width


def grid_positions(grids: tuple[Grid, ...]) -> Tensor:
    """Positions ``[P, 3]`` (t = place of the grid, y, x) of all cells, grid after grid in raster order."""
    rows = [
        torch.cartesian_prod(torch.tensor([t]), torch.arange(grid.height), torch.arange(grid.width))
        for t, grid in enumerate(grids)
    ]
    return torch.cat(rows) if rows else torch.zeros(0, 3, dtype=torch.long)


@dataclass(frozen=True)
class VisualTokens:
    """The visual tokens of one request.

    N tokens stand for P patches (the cells of all grids; the tokens that the host makes without compression).
    A token sits on one of these cells, its ``index``: its rotary position and its place in the prompt are that cell's.

    Attributes:
        features: ``[N, D]``.
        position: int64 ``[N, 3]``, (t, y, x) of the token's cell.
        mass: float32 ``[N]``, how many patches the token stands for.
        owner: int64 ``[P]``, which token each patch went to, or -1 where it was dropped.
        index: int64 ``[N]``, the token's cell, strictly increasing.
        grids: the pictures, in order of time.
        signals: what was asked of the tower, each ``[N]`` or ``[N, d]``, float32.
        extras: further features ``[N, D]`` that the host adds in its first decoder layers (DeepStack).
    """

    features: Tensor
    position: Tensor
    mass: Tensor
    owner: Tensor
    index: Tensor
    grids: tuple[Grid, ...]
    signals: Mapping[Signal, Tensor] = field(default_factory=dict)
    extras: tuple[Tensor, ...] = ()

    @classmethod
    def full(
        cls,
        features: Tensor,
        grids: tuple[Grid, ...],
        signals: Mapping[Signal, Tensor] | None = None,
        extras: tuple[Tensor, ...] = (),
    ) -> "VisualTokens":
        """One token a cell: nothing merged or dropped yet. ``features`` is ``[P, D]`` in the order of the cells."""
        device = features.device
        position = grid_positions(grids).to(device)
        if len(position) != len(features):
            raise ValueError(f"grids have {len(position)} cells, features {len(features)} rows")
        cells = torch.arange(len(features), device=device)
        mass = torch.ones(len(features), device=device)
        return cls(features, position, mass, cells, cells, grids, dict(signals or {}), extras)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def patches(self) -> int:
        """P: how many tokens the host makes without compression."""
        return len(self.owner)

    def check(self) -> "VisualTokens":
        """Itself.

        Raises:
            ValueError: if sizes disagree, tokens are out of order, or mass and owner tell different stories.
        """
        count = len(self.features)
        sizes = {len(value) for value in (self.position, self.mass, self.index, *self.extras, *self.signals.values())}
        if sizes != {count}:
            raise ValueError(f"{count} tokens with attributes of lengths {sorted(sizes)}")
        if count > 1 and not bool((self.index[1:] > self.index[:-1]).all()):
            raise ValueError("tokens must be in the order of their cells, each on a cell of its own")
        if not torch.equal(grid_positions(self.grids).to(self.index.device)[self.index], self.position):
            raise ValueError("a token's position must be that of its cell")
        if self.owner.numel() and (int(self.owner.max()) >= count or int(self.owner.min()) < -1):
            raise ValueError("an owner that is no token")
        held = torch.bincount(self.owner[self.owner >= 0], minlength=count).to(self.mass)
        if not torch.equal(held, self.mass):
            raise ValueError("mass must be the number of patches that a token owns")
        return self

    def gather(self, keep: Tensor) -> "VisualTokens":
        """The tokens ``keep`` (bool ``[N]``, or int64 indices in any order); patches of the others are dropped."""
        if keep.dtype != torch.bool:
            mask = torch.zeros(len(self), dtype=torch.bool, device=self.features.device)
            mask[keep] = True
            keep = mask
        if bool(keep.all()):
            return self
        rank = torch.where(keep, torch.cumsum(keep, 0) - 1, -1)
        return replace(
            self,
            features=self.features[keep],
            position=self.position[keep],
            mass=self.mass[keep],
            index=self.index[keep],
            owner=torch.where(self.owner >= 0, rank[self.owner.clamp(min=0)], -1),
            signals={signal: value[keep] for signal, value in self.signals.items()},
            extras=tuple(extra[keep] for extra in self.extras),
        )

    def merge(self, assign: Tensor, *, weights: Tensor | None = None, features: Tensor | None = None) -> "VisualTokens":
        """Fewer tokens, each the weighted mean of those that went to it.

        Args:
            assign: int64 ``[N]``, for each token the token it goes to (a survivor goes to itself), or -1 to drop it.
            weights: float ``[N]``, weight of each token in its group's mean; the default is its mass.
            features: ``[K, D]`` of the survivors in order, instead of the mean.

        Survivors keep their cell. Signals and extras are averaged with the same weights.
        """
        count = len(self)
        survives = assign == torch.arange(count, device=assign.device)
        goes = assign >= 0
        if not bool(survives[assign[goes]].all()):
            raise ValueError("a token can only go to one that survives")
        if bool(survives.all()) and features is None:
            return self
        rank = torch.where(survives, torch.cumsum(survives, 0) - 1, -1)
        group = torch.where(goes, rank[assign.clamp(min=0)], -1)
        kept = int(survives.sum())
        weight = (self.mass if weights is None else weights).float()

        def mean(value: Tensor) -> Tensor:
            # A token that nothing joined keeps its exact bits.
            return _group_mean(value, group, weight, kept, value[survives])

        return replace(
            self,
            features=mean(self.features) if features is None else features.to(self.features.dtype),
            position=self.position[survives],
            mass=torch.zeros(kept, device=assign.device).index_add_(0, group[goes], self.mass[goes]),
            index=self.index[survives],
            owner=torch.where(self.owner >= 0, group[self.owner.clamp(min=0)], -1),
            signals={signal: mean(value) for signal, value in self.signals.items()},
            extras=tuple(mean(extra) for extra in self.extras),
        )

    def with_features(self, features: Tensor) -> "VisualTokens":
        """The same tokens with other features ``[N, D']``."""
        if len(features) != len(self):
            raise ValueError(f"{len(self)} tokens, {len(features)} rows of features")
        return replace(self, features=features)

    def expand(self) -> Tensor:
        """Features ``[P, D]`` of all cells, each that of the token which owns it; no cell may have been dropped."""
        if len(self) == self.patches:
            return self.features
        if bool((self.owner < 0).any()):
            raise ValueError("dropped patches cannot be put back on the grid")
        return self.features[self.owner]

    def by_grid(self) -> Iterator[tuple[Grid, Tensor]]:
        """Each picture with the int64 indices of its tokens, pictures without tokens included."""
        bounds = torch.searchsorted(
            self.position[:, 0].contiguous(), torch.arange(len(self.grids) + 1, device=self.position.device)
        ).tolist()
        for t, grid in enumerate(self.grids):
            yield grid, torch.arange(bounds[t], bounds[t + 1], device=self.position.device)


def _group_mean(value: Tensor, group: Tensor, weight: Tensor, count: int, alone: Tensor) -> Tensor:
    """Weighted mean of rows by group in float32; a group of one row is ``alone``'s row unchanged."""
    goes = group >= 0
    rows, members = value[goes].float(), group[goes]
    shape = (-1,) + (1,) * (value.dim() - 1)
    total = torch.zeros((count, *value.shape[1:]), device=value.device)
    total.index_add_(0, members, rows * weight[goes].view(shape))
    norm = torch.zeros(count, device=value.device).index_add_(0, members, weight[goes])
    size = torch.bincount(members, minlength=count)
    mean = total / norm.clamp(min=torch.finfo(torch.float32).tiny).view(shape)
    # Where all weights of a group are zero its mean is undefined: the survivor stands for it.
    single = ((size <= 1) | (norm <= 0)).view(shape)
    return torch.where(single, alone, mean.to(value.dtype))
