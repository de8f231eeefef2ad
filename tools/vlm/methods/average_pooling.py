"""Average pooling: neighbouring tokens become their mean."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tools.vlm.context import Context
from tools.vlm.method import Budgeted, Stage
from tools.vlm.primitives.budget import allocate
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class AveragePooling(Budgeted):
    """Baseline, no paper: every picture is cut into rectangles of about equal size, each of which becomes its mean.

    The budget is shared out over pictures by their tokens, and within a picture over bands of rows whose height is
    close to the rectangles' width, so that every budget is met exactly. With fewer tokens than pictures, tokens are
    averaged along reading order instead. A mean sits on the token nearest to the middle of its rectangle.
    """

    title: ClassVar[str] = "Average pooling"
    family: ClassVar[str] = "baseline"
    stage: ClassVar[Stage] = "merge"

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Averages down to the budget's number of tokens."""
        kept = self.budget(len(tokens))
        pictures = [index for _, index in tokens.by_grid() if len(index)]
        if kept == len(tokens):
            return tokens
        if kept < len(pictures):
            whole = torch.arange(len(tokens), device=tokens.features.device)
            return tokens.merge(_runs(whole, kept))
        sizes = torch.tensor([len(index) for index in pictures])
        shares = allocate(kept, sizes.double(), sizes, floor=1).tolist()
        assign = torch.cat([_bands(tokens, index, share) for index, share in zip(pictures, shares, strict=True)])
        return tokens.merge(assign)


def _bands(tokens: VisualTokens, index: Tensor, kept: int) -> Tensor:
    """For the tokens ``index`` of one picture (raster order) the token that each goes to."""
    rows = tokens.position[index, 1]
    height = len(torch.unique(rows))
    width = len(index) / height
    # Rectangles of the same shape in patches: bands : columns as height : width.
    bands = max(1, min(height, kept, round((kept * height / width) ** 0.5)))
    band = torch.unique(rows, return_inverse=True)[1] * bands // height
    sizes = torch.bincount(band, minlength=bands)
    shares = allocate(kept, sizes.double().cpu(), sizes.cpu(), floor=1).tolist()
    parts = []
    for place, share in enumerate(shares):
        inside = index[band == place]
        # Down the columns of the band, so that a run of tokens is a rectangle.
        column = torch.argsort(tokens.position[inside, 2], stable=True)
        target = torch.empty_like(inside)
        target[column] = _runs(inside[column], share)
        parts.append(target)
    return torch.cat(parts)


def _runs(index: Tensor, kept: int) -> Tensor:
    """Cuts ``index`` into ``kept`` runs of about equal length; each element's run is named by its middle element."""
    count = len(index)
    run = torch.arange(count, device=index.device) * kept // count
    middle = ((2 * torch.arange(kept, device=index.device) + 1) * count) // (2 * kept)
    return index[middle][run]
