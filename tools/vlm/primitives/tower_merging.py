"""Merging in the layers of a patch tower: every picture with tokens of its own number, run side by side.

The idea is of "Token Merging: Your ViT But Faster" (arXiv 2210.09461), with pairs chosen over several pictures at once
as DyMU's dynamic merging (arXiv 2504.17040) does; written from their descriptions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tools.vlm.primitives.budget import top
from tools.vlm.primitives.matching import best_partners
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens
from tools.vlm.towers import PatchLayer, PatchTower

#: Which pairs of each picture merge in a layer (bool): its index, and the cosines ``[A]`` of the pairs of each picture.
Close = Callable[[int, list[Tensor]], list[Tensor]]


class Closest:
    """In each layer, the closest pairs of all pictures together.

    Args:
        merges: how many in each layer.

    Attributes:
        cuts: of each layer so far, the largest cosine of a pair that did not merge (1 where none had to, -1 where all
            did).
    """

    def __init__(self, merges: list[int]) -> None:
        self.merges = merges
        self.cuts: list[float] = []

    def __call__(self, layer: int, cosines: list[Tensor]) -> list[Tensor]:
        every = torch.cat(cosines)
        count = min(self.merges[layer], int(every.isfinite().sum()))
        chosen = torch.zeros_like(every, dtype=torch.bool)
        chosen[top(every, count)] = True
        left = every[~chosen & every.isfinite()]
        self.cuts.append(1.0 if count == 0 else float(left.max()) if len(left) else -1.0)
        return list(torch.split(chosen, [len(part) for part in cosines]))


def above(thresholds: Sequence[float]) -> Close:
    """All pairs whose cosine is above the layer's threshold; none where that is 1 or more."""
    # Rounding takes the cosine of equal keys past 1, where nothing shall merge.
    return lambda layer, cosines: [(part > thresholds[layer]) & (thresholds[layer] < 1) for part in cosines]


def merge_in_tower(
    tower: PatchTower, pixels: Tensor, grids: tuple[Grid, ...], signals: Sequence[Signal], close: Close
) -> VisualTokens:
    """Patch features of a tower that is read once, whose layers merge pairs between attention and MLP.

    Tokens merge up to the layer that is read: sources and destinations by turns, CLS left alone, means weighted by
    size, attention in proportion to size. Signals are those of the merged tokens.

    Args:
        pixels: ``[F, 3, H, W]``.
        grids: of the F pictures.
        close: which pairs merge.
    """
    wanted, stop = tower.plan(signals)
    read, skip = tower.reads[0], int(tower.has_cls)
    hidden = tower.embed(pixels)
    count, device = hidden.shape[1] - skip, hidden.device
    pictures = [
        _Picture(
            hidden=part[None],
            size=torch.ones(count + skip, device=device),
            owner=torch.arange(skip, count + skip, device=device),
            cell=torch.arange(-skip, count, device=device),
        )
        for part in hidden
    ]
    protected = torch.arange(count + skip, device=device) < skip
    features = [picture.hidden for picture in pictures]
    for index, layer in enumerate(tower.layers[:stop]):
        for signal, at in wanted.items():
            for picture in pictures if at == index else ():
                value = tower.read(layer, layer.norm(picture.hidden), signal)[0]
                picture.signals[signal] = value[picture.owner - skip]
        metrics = [picture.attend(layer) for picture in pictures]
        if index < read:
            pairs = [best_partners(metric, protected[: len(metric)]) for metric in metrics]
            chosen = close(index, [cosine for _, _, cosine in pairs])
            for picture, (source, partner, _), mask in zip(pictures, pairs, chosen, strict=True):
                picture.merge(source[mask], partner[mask])
        for picture in pictures:
            picture.hidden = picture.hidden + layer.feed(picture.hidden)
        if index + 1 == read:
            features = [picture.hidden for picture in pictures]
    for signal in signals:
        for picture in pictures if signal.kind == "head" else ():
            picture.signals[signal] = tower.read_head(picture.hidden, signal)[0, picture.owner]
    full = VisualTokens.full(
        torch.cat([part[0, picture.owner] for part, picture in zip(features, pictures, strict=True)]),
        grids,
        {signal: torch.cat([picture.signals[signal] for picture in pictures]) for signal in signals},
    )
    assign = torch.cat([picture.cell[picture.owner] + count * place for place, picture in enumerate(pictures)])
    return full.merge(assign, features=torch.cat([part[0, skip:] for part in features]))


@dataclass
class _Picture:
    """The tokens of one picture on their way through the tower.

    Attributes:
        hidden: ``[1, S, D]``, CLS first if the tower has one.
        size: float32 ``[S]``, patches in each token; 1 for CLS.
        owner: int64 ``[patches]``, the token of each patch.
        cell: int64 ``[S]``, the patch that each token sits on (-1 for CLS).
        signals: what was asked of the tower, a row a patch.
    """

    hidden: Tensor
    size: Tensor
    owner: Tensor
    cell: Tensor
    signals: dict[Signal, Tensor] = field(default_factory=dict)

    def attend(self, layer: PatchLayer) -> Tensor:
        """One layer's attention in proportion to size; gives the metric ``[S, d]`` of the merging."""
        normed = layer.norm(self.hidden)
        key = layer.keys(normed)
        # exp(q k + log s) = s exp(q k): a token counts as often as it has patches.
        bias = self.size.log().to(key) if bool((self.size > 1).any()) else None
        mixed = layer.attend(layer.queries(normed), key, layer.values(normed), None if bias is None else bias[None])
        self.hidden = self.hidden + mixed
        return key[0].float().mean(0)

    def merge(self, source: Tensor, target: Tensor) -> None:
        """Tokens ``source`` go to ``target``, means weighted by size."""
        if len(source) == 0:
            return
        stays = torch.ones_like(self.size, dtype=torch.bool)
        stays[source] = False
        goes = torch.arange(len(stays), device=stays.device)
        goes[source] = target
        group = (torch.cumsum(stays, 0) - 1)[goes]
        size = torch.zeros(int(stays.sum()), device=stays.device).index_add_(0, group, self.size)
        total = torch.zeros(len(size), self.hidden.shape[-1], device=stays.device)
        total.index_add_(0, group, self.hidden[0].float() * self.size[:, None])
        self.hidden = (total / size[:, None]).to(self.hidden)[None]
        self.size, self.owner, self.cell = size, group[self.owner], self.cell[stays]
