"""Fourier-VLM: the low spatial frequencies of each picture, as a smaller picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host, Inputs
from tools.vlm.method import Method, Stage
from tools.vlm.primitives.frequency import resize
from tools.vlm.tokens import Grid, VisualTokens

#: Hosts whose connector is a projection of each patch on its own, which can be given fewer patches.
PROJECTING = frozenset({"llava"})


@dataclass(frozen=True, kw_only=True)
class FourierVLM(Method):
    """Fourier-VLM (Fourier Compressor), arXiv 2508.06038, section 3: a cosine transform over the rows and columns of
    each picture, cut to its lowest frequencies and taken back at the smaller size. It has no parameters.

    As published the operator stands before the projector of a LLaVA and behind the merger of a Qwen, in a model that is
    trained with it; there the cut raises all values by the square root of the ratio of sizes, which training absorbs. A
    model that was not trained with it needs them as they were: ``rescale``, on by default. A new token sits on the
    patch in the middle of its rectangle and keeps that patch's rotary position; the published models number the smaller
    grid anew.

    Attributes:
        axis: share of rows and of columns that is left; by default the paper's, 1/2 on LLaVA and 2/3 elsewhere. How
            many tokens that makes depends on the pictures' shapes.
        rescale: whether a constant picture keeps its value; off for models that were trained with the operator.
        place: ``projector``: before the connector (LLaVA only); ``tokens``: behind it; ``auto``: before it where that
            can be done.
    """

    title: ClassVar[str] = (
        "Fourier-VLM: Compressing Vision Tokens in the Frequency Domain for Large Vision-Language Models"
    )
    arxiv: ClassVar[str | None] = "2508.06038"
    number: ClassVar[int | None] = 34
    family: ClassVar[str] = "connector"
    stage: ClassVar[Stage] = "connect"
    #: It needs every patch of a picture: a tower that drops or merges some leaves no grid to transform.
    conflicts: ClassVar[frozenset[Stage]] = frozenset({"encode"})

    axis: float | None = None
    rescale: bool = True
    place: Literal["auto", "projector", "tokens"] = "auto"

    def __post_init__(self) -> None:
        if self.axis is not None and not 0 < self.axis <= 1:
            raise BadInput(f"axis={self.axis} is no share", remedy="give a share above 0 and at most 1", field="axis")

    def check(self, host: Host) -> None:
        """Refuses a place before a connector that needs the whole grid."""
        super().check(host)
        if self.place == "projector" and host.name not in PROJECTING:
            raise BadInput(
                f"the connector of host '{host.name}' needs all patches of a picture",
                remedy="use place=tokens",
                field="place",
            )

    def count(self, tokens: int) -> int | None:
        """None, for it depends on the shapes of the pictures, unless it is all of them."""
        return tokens if self.axis == 1 else None

    @classmethod
    def identity(cls) -> Self | None:
        """All frequencies."""
        return cls(axis=1.0)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """The paper's, and a harder cut as trained models want it."""
        return (cls(), cls(axis=0.35, rescale=False, place="tokens"))

    def connect(self, patches: VisualTokens, inputs: Inputs, context: Context) -> VisualTokens:
        """Compresses before the host's connector or behind it."""
        host = context.host
        axis = self.axis if self.axis is not None else (1 / 2 if host.name in PROJECTING else 2 / 3)
        if self.place != "tokens" and host.name in PROJECTING:
            return host.connect(self.compress(patches, axis), inputs)
        return self.compress(host.connect(patches, inputs), axis)

    def compress(self, tokens: VisualTokens, axis: float) -> VisualTokens:
        """Fewer tokens for every picture, from one token a cell."""
        sizes = [(_kept(grid.height, axis), _kept(grid.width, axis)) for grid in tokens.grids]
        if all(size == (grid.height, grid.width) for grid, size in zip(tokens.grids, sizes, strict=True)):
            return tokens
        assign = torch.cat([_middles(grid, *size) for grid, size in zip(tokens.grids, sizes, strict=True)])
        starts = torch.tensor([0, *[grid.cells for grid in tokens.grids]]).cumsum(0)[:-1]
        assign += starts.repeat_interleave(torch.tensor([grid.cells for grid in tokens.grids]))
        features, *extras = (self._resized(value, tokens.grids, axis) for value in (tokens.features, *tokens.extras))
        merged = replace(tokens, extras=()).merge(assign.to(features.device), features=features)
        return replace(merged, extras=tuple(extras))

    def _resized(self, value: Tensor, grids: Sequence[Grid], axis: float) -> Tensor:
        """``[P, D]`` picture by picture at its smaller size; pictures of one shape in a row go together."""
        found, start = [], 0
        for (height, width), same in groupby(grids, key=lambda grid: (grid.height, grid.width)):
            end = start + sum(grid.cells for grid in same)
            rows, columns = _kept(height, axis), _kept(width, axis)
            small = resize(value[start:end].view(-1, height, width, value.shape[-1]), rows, columns)
            if self.rescale:
                small *= (rows * columns / (height * width)) ** 0.5
            found.append(small.flatten(0, 2))
            start = end
        return torch.cat(found).to(value.dtype)


def _kept(size: int, axis: float) -> int:
    """Rows or columns that are left, rounded down as published; one at least."""
    return max(1, int(size * axis + 1e-9))


def _middles(grid: Grid, rows: int, columns: int) -> Tensor:
    """For each cell of ``grid`` the cell in the middle of its rectangle, int64 ``[cells]``, when cut into
    ``rows * columns`` rectangles of about equal size."""

    def middle(size: int, parts: int) -> Tensor:
        part = torch.arange(size) * parts // size
        # The cells of part p are those from ceil(p * size / parts) to before ceil((p + 1) * size / parts).
        first, after = -(-part * size // parts), -(-(part + 1) * size // parts)
        return (first + after - 1) // 2

    return (middle(grid.height, rows)[:, None] * grid.width + middle(grid.width, columns)[None]).flatten()
