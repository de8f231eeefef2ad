"""VisionDrop: visual tokens are dropped and merged, before the decoder and in it, by attention among themselves."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives.budget import spread
from tools.vlm.primitives.crops import parts
from tools.vlm.primitives.merging import dominant_contextual
from tools.vlm.primitives.probe import null_normalised
from tools.vlm.primitives.schedules import stage_layers
from tools.vlm.signals import Signal, saliency
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class VisionDrop(Budgeted):
    """VisionDrop, arXiv 2506.22283, section 3. Each stage keeps its dominant tokens as they are and merges the rest
    into a few contextual ones: of the rest, tokens at even distances, each with those whose attention keys are most
    like its own. The first stage stands before the decoder and scores by CLS attention, in every frame, whole picture
    and crop on its own; later ones stand before decoder layers and score by the attention that visual tokens give each
    other in the coming layer. The question plays no part, so what is kept can serve every question on a video.

    A contextual token is the mean of its group weighted by mass, on its target's cell. The released code adds the mean
    of the others to the target, which nearly doubles its length, and lines contextual tokens up behind the dominant
    ones. Towers without CLS token take the attention that a patch receives, a substitute that is not the paper's.

    Attributes:
        keep: share of the tokens left by the first stage; the paper's 48 of 576 by default.
        tokens: number of tokens left by the first stage.
        layers: the decoder layers of the later stages, as shares of the depth; the paper's 8, 16 and 24 of 32.
        left: share of the first stage's tokens that each later stage leaves; the paper's 35, 26 and 19 of 48.
        contextual: share of contextual tokens in what the first and each later stage leaves; the paper's 6 of 48, 5 of
            35, 4 of 26 and 3 of 19.
        score: how attention among visual tokens counts in the decoder. ``unmasked``, the default: as if they saw each
            other in both directions; ``published``: under the causal mask of the released code, with which early tokens
            win by their place alone (on random queries and keys all picks fall into the first quarter, for a video its
            first frames); ``null``: that divided by what uniform attention would give.
        update: ``mean``, or ``added`` as in the released code.
        source: the signal of the vision tower that the first stage scores by.
    """

    title: ClassVar[str] = "Rethinking Visual Token Reduction in LVLMs under Cross-modal Misalignment"
    arxiv: ClassVar[str | None] = "2506.22283"
    number: ClassVar[int | None] = 58
    family: ClassVar[str] = "pre-LLM and in-LLM pruning with merging"
    stage: ClassVar[Stage] = "merge"

    keep: float = 1 / 12
    layers: tuple[float, ...] = (0.25, 0.5, 0.75)
    left: tuple[float, ...] = (0.73, 0.54, 0.396)
    contextual: tuple[float, ...] = (0.125, 0.143, 0.154, 0.158)
    score: Literal["published", "null", "unmasked"] = "unmasked"
    update: Literal["mean", "added"] = "mean"
    source: Literal["auto", "cls", "received", "head"] = "auto"

    def __post_init__(self) -> None:
        if len(self.left) != len(self.layers) or len(self.contextual) != len(self.layers) + 1:
            raise BadInput(
                f"visiondrop: {len(self.layers)} layers do not go with {len(self.left)} values of left and "
                f"{len(self.contextual)} of contextual",
                remedy="give left one value a layer, and contextual one more for the stage before the decoder",
                field="left" if len(self.left) != len(self.layers) else "contextual",
            )
        if not all(0 <= share < 1 for share in self.contextual):
            raise BadInput(
                "visiondrop: contextual holds no share of the tokens", remedy="give 0 to below 1", field="contextual"
            )
        if any(not 0 < after <= before for before, after in pairwise((1.0, *self.left))):
            raise BadInput("visiondrop: left must fall from stage to stage", remedy="give 1 to above 0", field="left")

    def needs(self, host: Host) -> Sequence[Signal]:
        """Scores and keys of the first stage."""
        return (replace(saliency(host.signal_kinds, self.source), heads="sum"), Signal("keys"))

    def check(self, host: Host) -> None:
        """Refuses layers that the decoder does not have."""
        super().check(host)
        stage_layers(self.layers, host.depth, self.name)

    def count(self, tokens: int) -> int | None:
        """What the last stage leaves."""
        return self.counts(self.budget(tokens))[-1]

    def counts(self, first: int) -> list[int]:
        """Tokens left by the first stage, which leaves ``first``, and by each later one."""
        return [first, *(max(1, int(share * first + 0.5)) for share in self.left)]

    def split(self, kept: int, stage: int) -> tuple[int, int]:
        """Dominant and contextual tokens among the ``kept`` of a stage."""
        contextual = min(int(self.contextual[stage] * kept + 0.5), kept - 1)
        return kept - contextual, contextual

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """The stage before the decoder."""
        kept = self.budget(len(tokens))
        if kept == len(tokens):
            return tokens
        score, keys = (tokens.signals[signal] for signal in self.needs(context.host))
        pieces = parts(tokens)
        sizes = [len(piece) for piece in pieces]
        dominant, contextual = self.split(kept, 0)
        chosen = spread(dominant, sizes)
        gathered = spread(contextual, [size - some for size, some in zip(sizes, chosen, strict=True)])
        assign = torch.full((len(tokens),), -1, device=score.device)
        for piece, best, others in zip(pieces, chosen, gathered, strict=True):
            if best + others:
                goes = dominant_contextual(score[piece], keys[piece], best, others)
                assign[piece] = torch.where(goes < 0, -1, piece[goes])
        return self.merged(tokens, assign)

    def prune_layers(self, depth: int) -> Collection[int]:
        """One layer a later stage."""
        return stage_layers(self.layers, depth, self.name)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """A stage in the decoder."""
        stage = 1 + stage_layers(self.layers, prefill.host.depth, self.name).index(layer)
        kept = prefill.context.memory(self).setdefault("counts", self.counts(len(tokens)))[stage]
        if kept >= len(tokens):
            return tokens
        metric = prefill.keys(layer, prefill.visual).float().mean(0)
        return self.merged(tokens, dominant_contextual(self.scores(layer, prefill), metric, *self.split(kept, stage)))

    def scores(self, layer: int, prefill: Prefill) -> Tensor:
        """Attention that each visual token receives from all of them in the coming ``layer``, ``[N]``."""
        visual = prefill.visual
        scores = prefill.received(layer, visual, visual, causal=self.score != "unmasked")
        return null_normalised(scores, visual, visual) if self.score == "null" else scores

    def merged(self, tokens: VisualTokens, assign: Tensor) -> VisualTokens:
        """The tokens of a stage from where each goes."""
        if self.update == "mean":
            return tokens.merge(assign)
        place = torch.arange(len(tokens), device=assign.device)
        joins = (assign >= 0) & (assign != place)
        total = torch.zeros_like(tokens.features, dtype=torch.float32)
        total.index_add_(0, assign[joins], tokens.features[joins].float())
        joined = torch.bincount(assign[joins], minlength=len(tokens)).clamp(min=1)
        added = tokens.features.float() + total / joined[:, None]
        return tokens.merge(assign, features=added[assign == place])

    @classmethod
    def identity(cls) -> "VisionDrop":
        """Nothing dropped at any stage."""
        return cls(keep=1.0, left=(1.0, 1.0, 1.0))

    @classmethod
    def examples(cls) -> tuple["VisionDrop", ...]:
        """Mild and by the published formulas; the paper's shares of a larger first stage; no contextual tokens."""
        return (
            cls(keep=0.6, score="published", update="added"),
            cls(keep=0.3, contextual=(0.0, 0.0, 0.0, 0.0), score="null"),
            cls(keep=0.25),
        )
