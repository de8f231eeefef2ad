"""GlobalCom2: the small picture of the whole commands how many tokens, and which, each crop keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.primitives.budget import allocate, spread
from tools.vlm.primitives.crops import crop_of, crops, top_of_parts
from tools.vlm.signals import Signal, saliency
from tools.vlm.tokens import Grid, VisualTokens


@dataclass(frozen=True, kw_only=True)
class GlobalCom2(Budgeted):
    """GlobalCom2, arXiv 2501.05179, section 4: the whole picture (thumbnail) keeps its best patches at the overall
    rate. A crop's rate rises with the thumbnail scores that lie under it, by a softmax over crops, and its patches are
    ranked by their own score plus the thumbnail's at their place.

    Scores are the tower's CLS products before the softmax, in its last layer. Sums of those are some hundreds, which
    the temperature of 10 is made for; attention weights (towers without CLS) sum to so little that all crops would get
    the same, so thumbnail scores of these are brought to mean 0 and deviation 1 first. That, and the substitute signal,
    are ours. Budgets are exact, what a full crop cannot take going to the others. Pictures without crops (frames of a
    video) keep their best patches at the overall rate, as a thumbnail does.

    Attributes:
        temperature: of the softmax over crops; high gives all crops the same.
        source: the signal of the vision tower to score by.
    """

    title: ClassVar[str] = "Compression with Global Guidance: Towards Training-free High-Resolution MLLMs Acceleration"
    arxiv: ClassVar[str | None] = "2501.05179"
    number: ClassVar[int | None] = 48
    family: ClassVar[str] = "pre-LLM pruning"
    stage: ClassVar[Stage] = "merge"

    temperature: float = 10.0
    source: Literal["auto", "cls", "received", "head"] = "auto"

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise BadInput("the temperature must be above 0", remedy="the paper's is 10", field="temperature")

    def needs(self, host: Host) -> Sequence[Signal]:
        """CLS products of the last layer, or the attention that stands in for them."""
        signal = saliency(host.signal_kinds, self.source)
        return (Signal("cls", layer=-1, logits=True) if signal.kind == "cls" else signal,)

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the budget's number of tokens."""
        (signal,) = self.needs(context.host)
        scores = tokens.signals[signal].clone()
        pictures: list[tuple[Grid, Tensor, list[Tensor], list[float]]] = []
        for grid, index in tokens.by_grid():
            if grid.part != "mosaic":
                pictures.append((grid, index, [], []))
                continue
            base, thumbnail, _, _ = pictures.pop()
            parts = crops(tokens, grid, index)
            mass = self.mass(tokens, scores, base, thumbnail, grid, raw=signal.kind == "cls")
            guided = _guide(tokens, scores, base, thumbnail, grid, index)
            for part in parts:
                scores[part] = normalize(scores[part], dim=0) + normalize(guided[part], dim=0)
            pictures.append((base, thumbnail, parts, mass.tolist()))
        sizes = [len(thumbnail) + sum(map(len, parts)) for _, thumbnail, parts, _ in pictures]
        kept: list[Tensor] = []
        totals = spread(self.budget(len(tokens)), sizes)
        for (_, thumbnail, parts, masses), total in zip(pictures, totals, strict=True):
            shares = self.shares(total, len(thumbnail), masses, [len(part) for part in parts])
            kept.append(top_of_parts(scores, [thumbnail, *parts], shares))
        return tokens.gather(torch.cat(kept))

    def mass(
        self, tokens: VisualTokens, scores: Tensor, base: Grid, thumbnail: Tensor, mosaic: Grid, *, raw: bool
    ) -> Tensor:
        """Sum of the thumbnail's scores under each crop, ``[crops]``; ``raw`` as they are, else standardised."""
        value = scores[thumbnail]
        if not raw and len(value):
            centred = value - value.mean()
            # Differences that are mere rounding say nothing.
            noise = 1e-5 * float(value.abs().max()) + torch.finfo(value.dtype).tiny
            value = centred / centred.square().mean().sqrt().clamp(min=noise)
        scale = torch.tensor([mosaic.height / base.height, mosaic.width / base.width], device=value.device)
        crop = crop_of((tokens.position[thumbnail, 1:] + 0.5) * scale, mosaic)
        return torch.zeros(mosaic.tiles[0] * mosaic.tiles[1], device=value.device).index_add_(0, crop, value)

    def shares(self, total: int, thumbnail: int, mass: Sequence[float], sizes: Sequence[int]) -> list[int]:
        """Tokens of the thumbnail and of each crop, their sum ``total``.

        Args:
            thumbnail: its tokens; sizes: those of each crop.
            mass: of each crop.
        """
        if not sizes:
            return [total]
        rate = total / (thumbnail + sum(sizes))
        base = min(max(int(rate * thumbnail + 0.5), total - sum(sizes)), thumbnail)
        weight = (torch.tensor(mass, dtype=torch.float64) / self.temperature).softmax(0)
        rates = (rate * (1 + weight - weight.mean())).clamp(max=1)
        return [base, *allocate(total - base, rates * torch.tensor(sizes), torch.tensor(sizes)).tolist()]


def _guide(tokens: VisualTokens, scores: Tensor, base: Grid, thumbnail: Tensor, mosaic: Grid, index: Tensor) -> Tensor:
    """Thumbnail scores at the places of the tokens ``index`` of the mosaic, bilinear; ``[N]``, zero elsewhere."""
    guided = torch.zeros_like(scores)
    if len(thumbnail) == 0:
        return guided
    # A thumbnail patch that an earlier method dropped counts as average.
    picture = torch.full((base.height, base.width), float(scores[thumbnail].mean()), device=scores.device)
    picture[tokens.position[thumbnail, 1], tokens.position[thumbnail, 2]] = scores[thumbnail]
    large = interpolate(picture[None, None], (mosaic.height, mosaic.width), mode="bilinear", align_corners=False)
    guided[index] = large[0, 0, tokens.position[index, 1], tokens.position[index, 2]]
    return guided
