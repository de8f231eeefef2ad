"""Visual tokens with made-up signals of a vision tower, and a context that knows no model."""

from types import SimpleNamespace
from typing import Any

import torch

from tests.tools.vlm.conftest import make_frames
from tools.vlm.context import Context
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens


def towerless(kinds: set[str] | None = None, depth: int = 24, layers: range = range(23)) -> Context:
    """The context of a host of which only the signals and the depth of its tower matter."""
    tower = SimpleNamespace(depth=depth, attention_layers=layers)
    host: Any = SimpleNamespace(name="fake", signal_kinds=kinds or {"cls", "received", "keys"}, tower=tower)
    return Context(host, make_frames(1), "What is it?")


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def visual(grids: tuple[Grid, ...], *signals: tuple[Signal, torch.Tensor], width: int = 6) -> VisualTokens:
    """Tokens on all cells of ``grids`` with random features and the given signals."""
    return VisualTokens.full(random(7, sum(grid.cells for grid in grids), width), grids, dict(signals))


def frames(count: int, height: int = 4, width: int = 5) -> tuple[Grid, ...]:
    return tuple(Grid(height, width, float(at)) for at in range(count))


def best(scores: list[float], candidates: list[int], count: int) -> list[int]:
    """The slow and obvious top: one after the other, the first of the largest."""
    left, chosen = list(candidates), []
    for _ in range(count):
        pick = max(left, key=lambda i: (scores[i], -i))
        left.remove(pick)
        chosen.append(pick)
    return sorted(chosen)
