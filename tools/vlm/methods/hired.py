"""HiRED: shares a budget out over the crops of a picture by where its content lies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.primitives.budget import allocate, spread
from tools.vlm.primitives.crops import crop_of, crops, top_of_parts
from tools.vlm.signals import Signal, saliency
from tools.vlm.tokens import Grid, VisualTokens


@dataclass(frozen=True, kw_only=True)
class HiRED(Budgeted):
    """HiRED, arXiv 2408.10945, section 4: the whole picture gets a share of the budget; the rest goes to the crops in
    proportion to how many of the whole picture's patches with the highest CLS attention in an early layer lie in each.
    Every part then keeps its patches with the highest CLS attention in the layer that the connector reads.

    Shares are exact by largest remainder and what a part cannot take goes to the others, where the released code rounds
    down and loses tokens. Newlines between rows belong to the host's prompt and stay; the released code drops them.
    Frames of a video have no crops: they get equal shares. Towers without CLS token take the attention that a patch
    receives, a substitute that is not the paper's.

    Attributes:
        keep: as in `Budgeted`; the paper's main setting by default.
        alpha: the whole picture's share of the budget; the other side of it, 1 - alpha, is the share of the whole
            picture's patches that count as content.
        mapping: ``area``: a patch counts for the crop that shows its place. ``strips``: as in the released code, where
            patches are cut into runs of reading order, which puts half of them into the wrong one of 2 x 2 crops.
        source: the signal of the vision tower to score by.
    """

    title: ClassVar[str] = "HiRED: Attention-Guided Token Dropping for Efficient Inference of High-Resolution VLMs"
    arxiv: ClassVar[str | None] = "2408.10945"
    number: ClassVar[int | None] = 24
    family: ClassVar[str] = "pre-LLM pruning"
    stage: ClassVar[Stage] = "merge"

    keep: float = 0.2
    alpha: float = 0.5
    mapping: Literal["area", "strips"] = "area"
    source: Literal["auto", "cls", "received"] = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise BadInput(f"alpha={self.alpha} is no share", remedy="give a share, 0 to 1", field="alpha")

    def needs(self, host: Host) -> Sequence[Signal]:
        """Scores of the early layer, which show where content is, and of the late one, which rank it."""
        late = replace(saliency(host.signal_kinds, self.source), heads="sum")
        return (replace(late, layer=host.tower.attention_layers[0]), late)

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the budget's number of tokens."""
        early, late = (tokens.signals[signal] for signal in self.needs(context.host))
        pictures = _pictures(tokens)
        sizes = [len(base) + sum(map(len, pieces)) for base, _, pieces in pictures]
        kept: list[Tensor] = []
        for (base, mosaic, pieces), total in zip(pictures, spread(self.budget(len(tokens)), sizes), strict=True):
            shares = self.shares(total, early[base], self.crop_places(tokens, base, mosaic), [len(p) for p in pieces])
            kept.append(top_of_parts(late, [base, *pieces], shares))
        return tokens.gather(torch.cat(kept))

    def shares(self, total: int, content: Tensor, crop: Tensor, sizes: Sequence[int]) -> list[int]:
        """Tokens of the whole picture and of each crop, their sum ``total``.

        Args:
            content: ``[N]``, early scores of the whole picture's patches; crop: ``[N]``, the crop that shows each.
            sizes: tokens of each crop.
        """
        if not sizes:
            return [total]
        least, most = max(0, total - sum(sizes)), min(total, len(content))
        base = min(max(math.floor(total * self.alpha), least), most)
        best = torch.argsort(content, descending=True, stable=True)[: math.floor(len(content) * (1 - self.alpha))]
        votes = torch.bincount(crop[best], minlength=len(sizes)).cpu()
        return [base, *allocate(total - base, votes, torch.tensor(sizes)).tolist()]

    def crop_places(self, tokens: VisualTokens, base: Tensor, mosaic: Grid | None) -> Tensor:
        """The crop that shows each patch of the whole picture, int64 ``[N]``."""
        if mosaic is None or len(base) == 0:
            return torch.zeros_like(base)
        grid = tokens.grids[int(tokens.position[base[0], 0])]
        place = tokens.position[base, 1:]
        if self.mapping == "strips":
            return (place[:, 0] * grid.width + place[:, 1]) * (mosaic.tiles[0] * mosaic.tiles[1]) // grid.cells
        scale = torch.tensor([mosaic.height / grid.height, mosaic.width / grid.width], device=place.device)
        return crop_of((place + 0.5) * scale, mosaic)


def _pictures(tokens: VisualTokens) -> list[tuple[Tensor, Grid | None, list[Tensor]]]:
    """Each frame or still: its tokens, and if it was cut into crops their mosaic and their tokens."""
    found: list[tuple[Tensor, Grid | None, list[Tensor]]] = []
    for grid, index in tokens.by_grid():
        if grid.part == "mosaic":
            found[-1] = (found[-1][0], grid, crops(tokens, grid, index))
        else:
            found.append((index, None, []))
    return found
