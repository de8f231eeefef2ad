"""VTC-CLS: keeps the patches to which the CLS token attends most over several layers of the vision tower."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Budgeted, Stage
from tools.vlm.primitives.budget import spread
from tools.vlm.primitives.crops import parts, top_of_parts
from tools.vlm.primitives.schedules import layer_at
from tools.vlm.signals import Signal, saliency
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class VTCCLS(Budgeted):
    """VTC-CLS, arXiv 2412.05819: CLS attention, mean over heads, summed over the layers from a first one to that which
    the connector reads. With only the latter (``start=1``) it keeps what FasterVLM keeps.

    The paper tunes the first layer for each benchmark and names none for all; the middle of the tower is our default.
    Each frame, whole picture and crop keeps its own best patches, in equal shares. Towers without CLS token take the
    attention that a patch receives, of those layers that see the whole picture.

    Attributes:
        start: the first layer, as a share of the tower's depth.
        source: the signal of the vision tower to score by.
    """

    title: ClassVar[str] = "[CLS] Token Tells Everything Needed for Training-free Efficient MLLMs"
    arxiv: ClassVar[str | None] = "2412.05819"
    number: ClassVar[int | None] = 18
    family: ClassVar[str] = "pre-LLM pruning"
    stage: ClassVar[Stage] = "merge"

    start: float = 0.5
    source: Literal["auto", "cls", "received"] = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise BadInput(
                f"vtc_cls cannot start at start={self.start} of the vision tower",
                remedy="give a share of its depth, 0 to 1",
                field="start",
            )

    def needs(self, host: Host) -> Sequence[Signal]:
        """One score a patch and layer."""
        layers = host.tower.attention_layers
        first = layer_at(self.start, host.tower.depth)
        chosen = [layer for layer in layers if layer >= first] or [layers[-1]]
        signal = saliency(host.signal_kinds, self.source)
        return [replace(signal, layer=layer) for layer in chosen]

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the budget's number of tokens."""
        scores = torch.stack([tokens.signals[signal] for signal in self.needs(context.host)]).sum(0)
        pieces = parts(tokens)
        shares = spread(self.budget(len(tokens)), [len(piece) for piece in pieces])
        return tokens.gather(top_of_parts(scores, pieces, shares))

    @classmethod
    def examples(cls) -> tuple["VTCCLS", ...]:
        """From the middle, and over all layers."""
        return (cls(keep=0.5), cls(keep=0.2, start=0.0))
