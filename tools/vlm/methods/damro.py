"""DAMRO: what the model would say from the background tokens alone is taken out of what it says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.primitives.crops import parts, top_of_parts
from tools.vlm.signals import Signal, saliency
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True, kw_only=True)
class Damro(Method):
    """DAMRO, arXiv 2410.04514: decoding against the outliers of the vision tower's attention.

    The CLS token of a vision tower attends most to a few patches of the background, and the decoder follows it there.
    A second prompt, which holds only the ``k`` most attended tokens of each picture (of each crop of a mosaic), is
    decoded alongside with the same generated tokens; with l the model's logits and l' those of the second prompt, the
    next token is chosen by ``(1 + alpha) l - alpha l'`` among the tokens with ``l >= log(beta) + max l``.

    Outliers enter the second prompt in the order of the picture, not of their scores as in the released code. After a
    method that prunes before the prompt they are sought among the tokens that it left. Towers without CLS lend the
    attention that their patches receive, which is our substitution. Decoding costs twice the time and cache.

    Attributes:
        k: outliers of each picture or crop. With all tokens for outliers nothing changes.
        alpha: strength of the contrast; at 0 nothing changes and no second prompt is decoded.
        beta: share of the most likely token's probability below which a token is out of the question, 0 to 1. The
            released settings: k=10, alpha=2 (LLaVA); k=4, alpha=0.5 for POPE and 1.5 for CHAIR (InstructBLIP).
        heads: ``mean``: attention weights, mean over the heads, as the paper says; ``single``: all heads as one of the
            full width, as the released code computes it for LLaVA (needs CLS).
        source: the signal by which outliers are found.
    """

    title: ClassVar[str] = "DAMRO: Dive into the Attention Mechanism of LVLM to Reduce Object Hallucination"
    arxiv: ClassVar[str | None] = "2410.04514"
    number: ClassVar[int | None] = 68
    family: ClassVar[str] = "contrastive decoding"
    stage: ClassVar[Stage] = "decode"

    k: int = 10
    alpha: float = 2.0
    beta: float = 0.1
    heads: Literal["mean", "single"] = "mean"
    source: Literal["auto", "cls", "received", "head"] = "auto"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadInput(f"damro needs outliers, not k={self.k}", remedy="use k=1 or more", field="k")
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise BadInput(f"alpha={self.alpha} is no strength", remedy="use 0 or more", field="alpha")
        if not 0 <= self.beta <= 1:
            raise BadInput(f"beta={self.beta} is no share", remedy="use 0 to 1", field="beta")

    def needs(self, host: Host) -> Sequence[Signal]:
        """The attention whose outliers are sought."""
        return (self._signal(host),)

    def branch(self, tokens: VisualTokens, context: Context) -> VisualTokens | None:
        """The second prompt's tokens: the outliers of every picture."""
        if self.alpha == 0:
            return None
        scores = tokens.signals[self._signal(context.host)]
        crops = parts(tokens)
        return tokens.gather(top_of_parts(scores, crops, [self.k] * len(crops)))

    def decode(self, logits: Tensor, branch: Tensor | None, context: Context) -> Tensor:
        """Contrasts the two, among tokens that the model itself finds plausible."""
        if branch is None:
            return logits
        contrast = (1 + self.alpha) * logits - self.alpha * branch
        if self.beta == 0:
            return contrast
        return contrast.masked_fill(logits < math.log(self.beta) + logits.max(), float("-inf"))

    def _signal(self, host: Host) -> Signal:
        if self.heads == "single":
            # One head of all channels has for products the sum of the heads' products, by another factor: within a
            # picture both rank the patches alike, before the softmax and after it.
            return Signal("cls", heads="sum", logits=True)
        return saliency(host.signal_kinds, self.source)

    @classmethod
    def identity(cls) -> "Damro":
        """No contrast."""
        return cls(alpha=0.0)

    @classmethod
    def examples(cls) -> tuple["Damro", ...]:
        """The published setting, and few outliers weakly contrasted."""
        return (cls(), cls(k=2, alpha=0.5))
