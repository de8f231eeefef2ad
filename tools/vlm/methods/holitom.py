"""HoliTom: what stands still through a segment of video becomes one token, then space is thinned."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives.budget import resolve, spread, top
from tools.vlm.primitives.clustering import dpc_knn
from tools.vlm.primitives.merging import nearest_target
from tools.vlm.primitives.probe import null_normalised
from tools.vlm.primitives.schedules import layer_at
from tools.vlm.primitives.segmentation import best_segmentation, static_counts
from tools.vlm.signals import Signal, saliency
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class HoliTom(Budgeted):
    """HoliTom, arXiv 2505.21334, sections 3.2 (outer: time, then space) and 3.3 (inner).

    Outer: a video is cut into the segments in which the most tokens stand still (cosine of neighbouring frames above
    ``tau``), by dynamic programming. Each still position becomes its mean over the segment. What is left is thinned
    evenly to the budget: still tokens by density peak clustering, moving ones frame by frame by the tower's attention.
    Inner: before one decoder layer, tokens to which the last token attended least join the survivor most like them.

    The budget is an upper bound, as in the paper: a video that stands still is left with less once time is merged, and
    ``keep=1`` alone still merges still positions (``tau`` above 1 switches that off). Otherwise it is met exactly, the
    parts sharing it by their sizes, where the released code rounds each for itself. Groups inside the decoder become
    means over their patches; the released code averages pairs one after another, which depends on the order. It also
    numbers positions anew; here tokens keep theirs (``positions=repack`` does as the code).

    Attributes:
        tau: cosine above which a position stands still; by default the paper's: 0.65 for budgets around a tenth and
            below, 0.8 for larger ones.
        longest: most frames of a segment.
        contextual: share of a frame's budget that goes to clusters of its less attended tokens (0 as released).
        centre: weight of the centre in its cluster, against the mean of its other members.
        inner_keep: share of tokens that go on after the inner step; 1 switches it off.
        inner: where in the decoder the inner step is, as a share of its depth (layer 18 of 28).
        source: attention of the vision tower by which moving tokens are ranked; the paper's is ``received``.
        score: ``published``: attention of the last token as it is; ``null``: divided by what uniform attention would
            give. One query sees all keys alike, so the two rank tokens in the same order.
    """

    title: ClassVar[str] = "HoliTom: Holistic Token Merging for Fast Video Large Language Models"
    arxiv: ClassVar[str | None] = "2505.21334"
    number: ClassVar[int | None] = 7
    family: ClassVar[str] = "pre-LLM and in-LLM merging"
    stage: ClassVar[Stage] = "merge"

    keep: float = 0.15
    tau: float | None = None
    longest: int = 1024
    contextual: float = 0.0
    centre: float = 0.6
    inner_keep: float = 0.5
    inner: float = 0.64
    source: Literal["auto", "cls", "received", "head"] = "received"
    score: Literal["published", "null"] = "published"

    def __post_init__(self) -> None:
        if self.inner_keep == 0:
            raise BadInput("holitom: inner_keep=0 leaves nothing", remedy="give more than 0", field="inner_keep")
        for name in ("contextual", "centre", "inner_keep"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"holitom: {name}={getattr(self, name)} is no share", remedy="give 0 to 1", field=name)
        if self.longest < 1:
            raise BadInput(f"holitom: no segment has {self.longest} frames", remedy="allow one", field="longest")

    def needs(self, host: Host) -> Sequence[Signal]:
        """Attention in the vision tower."""
        return (saliency(host.signal_kinds, self.source),)

    def check(self, host: Host) -> None:
        """Refuses an inner step outside the decoder."""
        super().check(host)
        layer = layer_at(self.inner, host.depth)
        if self.inner_keep < 1 and not 1 <= layer < host.depth:
            raise BadInput(
                f"holitom cannot merge before decoder layer {layer} of {host.depth}",
                remedy="give inner as a share of the depth, such as 0.64, or inner_keep=1 to go without",
                field="inner",
            )

    def count(self, tokens: int) -> int | None:
        """None, for how much stands still decides, unless nothing can."""
        outer = self.budget(tokens)
        return resolve(outer, self.inner_keep) if self._tau(outer, tokens) >= 1 else None

    @classmethod
    def identity(cls) -> Self | None:
        """Everything kept, nothing taken for still."""
        return cls(keep=1.0, tau=1.5, inner_keep=1.0)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Outer alone, both, and the exact budget of a video in which nothing is taken for still."""
        return (cls(keep=0.3, inner_keep=1.0), cls(contextual=0.4), cls(keep=0.3, tau=1.5, contextual=0.5))

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """The outer part."""
        kept = self.budget(len(tokens))
        assign, blocks, still = _still(tokens, self._tau(kept, len(tokens)), self.longest)
        tokens = tokens.merge(assign)
        kept = min(kept, len(tokens))
        if kept == len(tokens):
            return tokens
        quotas = spread(kept, [len(block) for block in blocks])
        scores = tokens.signals[saliency(context.host.signal_kinds, self.source)]
        assign = torch.full((len(tokens),), -1, device=tokens.features.device)
        for block, resting, quota in zip(blocks, still, quotas, strict=True):
            clusters = quota if resting else quota - round((1 - self.contextual) * quota)
            chosen = block[top(scores[block], quota - clusters)]
            assign[chosen] = chosen
            rest = block[assign[block] < 0]
            if clusters == len(rest):
                assign[rest] = rest
            elif clusters:
                assign[rest] = rest[dpc_knn(tokens.features[rest], clusters, neighbours=7)]
        return tokens.merge(assign, weights=_centred(assign, tokens.mass, self.centre))

    def prune_layers(self, depth: int) -> Collection[int]:
        """The inner step's layer."""
        return (layer_at(self.inner, depth),) if self.inner_keep < 1 else ()

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """The inner part."""
        scores = prefill.received(layer - 1, prefill.last, prefill.visual)
        if self.score == "null":
            scores = null_normalised(scores, prefill.last, prefill.visual)
        return tokens.merge(nearest_target(tokens.features, top(scores, resolve(len(tokens), self.inner_keep))))

    def _tau(self, kept: int, count: int) -> float:
        if self.tau is not None:
            return self.tau
        return 0.65 if kept < 0.125 * count else 0.8


def _still(tokens: VisualTokens, tau: float, longest: int) -> tuple[Tensor, list[Tensor], list[bool]]:
    """Merges what stands still.

    Returns:
        int64 ``[N]``, the token that each token goes to: the one of its segment's first frame where it stands still,
        itself elsewhere. Then the blocks to share the budget, int64 indices of the tokens after this merge: the still
        tokens of each segment, and the moving ones of each frame; and for each block whether it is one of still tokens.
    """
    count, device = len(tokens), tokens.features.device
    grids = tokens.grids
    width = max(grid.width for grid in grids)
    time, row, column = tokens.position.unbind(1)
    # Which token lies where: [T, positions], -1 for none. Frames of different shapes have no positions in common.
    table = torch.full((len(grids), max(grid.height for grid in grids) * width), -1, device=device)
    table[time, row * width + column] = torch.arange(count, device=device)
    shapes = [(grid.part, grid.height, grid.width) for grid in grids]
    cosine = torch.full((max(0, len(grids) - 1), table.shape[1]), float("-inf"), device=device)
    before: Tensor | None = None
    for t, cells in enumerate(table):
        # Frame by frame, so that the rows stay in the processor's cache.
        after = normalize(tokens.features[cells.clamp(min=0)].float(), dim=-1)
        if before is not None and shapes[t] == shapes[t - 1]:
            both = (cells >= 0) & (table[t - 1] >= 0)
            cosine[t - 1] = torch.where(both, torch.linalg.vecdot(before, after), float("-inf"))
        before = after
    alike = cosine > tau
    steps = torch.arange(len(grids))
    segments = best_segmentation(static_counts(alike) * (steps[None] - steps[:, None]), longest)

    assign = torch.arange(count, device=device)
    found: list[tuple[Tensor, bool]] = []
    for begin, end in segments:
        resting = alike[begin : end - 1].all(0) & (end - begin > 1)
        still = table[begin:end, resting]
        assign[still] = still[0]
        found.append((still[0], True))
        moving = table[begin:end, ~resting]
        found.extend((frame[frame >= 0], False) for frame in moving)
    rank = torch.cumsum(assign == torch.arange(count, device=device), 0) - 1
    return assign, [rank[block] for block, _ in found], [resting for _, resting in found]


def _centred(assign: Tensor, mass: Tensor, centre: float) -> Tensor:
    """Weights ``[N]`` by which a group's mean is ``centre`` times its centre plus the rest times its other members."""
    other = (assign >= 0) & (assign != torch.arange(len(assign), device=assign.device))
    joined = torch.zeros_like(mass).index_add_(0, assign[other], mass[other])
    weights = torch.full_like(mass, centre)
    weights[other] = (1 - centre) * mass[other] / joined[assign[other]]
    return weights
