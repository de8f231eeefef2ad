"""Where a model's attention lies, layer by layer: what methods that rank tokens by it have to go by."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from evals.league.coverage import shows
from evals.league.questions import Question
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.signals import Signal, saliency
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True)
class Attention:
    """Parts of the attention on visual tokens that lie on those whose patches show something, 0..1.

    Attributes:
        shown: the part of the tokens that show something, which attention without a preference would give.
        source: what attends in the tower, ``cls`` or ``received`` (all patches).
        tower: by layer of the tower.
        decoder: of the prompt's last token, by layer of the decoder; none prunes behind the last, so it is not there.
    """

    shown: float
    source: str
    tower: tuple[float, ...]
    decoder: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Watcher(Method):
    """Keeps everything and notes what was attended to.

    Attributes:
        question: which is asked; its things are what is shown.
        tower, decoder: the parts found in its one look, by layer; ``shown`` is the one number of `Attention`.
    """

    title: ClassVar[str] = "Attention by layer"
    family: ClassVar[str] = "watcher"
    stage: ClassVar[Stage] = "prune"

    question: Question
    tower: list[float] = field(default_factory=list, compare=False)
    decoder: list[float] = field(default_factory=list, compare=False)
    shown: list[float] = field(default_factory=list, compare=False)

    def needs(self, host: Host) -> Sequence[Signal]:
        """The tower's saliency in every layer."""
        kind = saliency(host.signal_kinds).kind
        return [Signal(kind, layer) for layer in range(host.tower.depth)]

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Notes the tower's."""
        there = self._there(tokens)
        self.shown.append(float(there.float().mean()))
        self.tower.extend(_part(tokens.signals[signal], there) for signal in self.needs(context.host))
        return tokens

    def prune_layers(self, depth: int) -> Collection[int]:
        """Every layer but the first: each tells of the one before."""
        return range(1, depth)

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """Notes the decoder's."""
        received = prefill.received(layer - 1, prefill.last, prefill.visual)
        self.decoder.append(_part(received, self._there(tokens)))
        return tokens

    def _there(self, tokens: VisualTokens) -> Tensor:
        found = shows(tokens.grids, self.question.things, self.question.frames.times)
        return torch.from_numpy(np.concatenate([one.ravel() for one in found]))[tokens.index.cpu()]


def attention(engine: Engine, questions: Sequence[Question]) -> Attention:
    """Looks once for each question and takes the mean over those whose frames show anything."""
    watchers = [Watcher(question=question) for question in questions if question.things.any()]
    for watcher in watchers:
        asked = watcher.question
        engine.look(asked.frames, asked.text, Compression((watcher,)), max_new_tokens=1)
    return Attention(
        float(np.mean([watcher.shown for watcher in watchers])),
        saliency(engine.host.signal_kinds).kind,
        _means([watcher.tower for watcher in watchers]),
        _means([watcher.decoder for watcher in watchers]),
    )


def _part(weights: Tensor, there: Tensor) -> float:
    weights = weights.float().cpu()
    return float(weights[there].sum() / weights.sum())


def _means(found: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(np.mean(found, axis=0).tolist())
