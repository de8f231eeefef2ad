"""Where a training stands, written so that it can be killed at any moment: one file that is replaced as a whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tools.errors import BadInput
from training.nano.config import Recipe


@dataclass
class Progress:
    """How far a run is: ``step`` steps and ``seconds`` into stage number ``stage``, ``steps_before`` and
    ``seconds_before`` in the stages that are done."""

    stage: int = 0
    step: int = 0
    seconds: float = 0.0
    steps_before: int = 0
    seconds_before: float = 0.0

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self.steps_before + self.step

    def next_stage(self) -> "Progress":
        """At the start of the next stage."""
        seconds = self.seconds_before + self.seconds
        return Progress(stage=self.stage + 1, steps_before=self.steps, seconds_before=seconds)


class Average:
    """The exponential running mean of a module's parameters, young ones weighing more while there are few.

    Attributes:
        mean: one tensor for each parameter, in float32.
    """

    def __init__(self, parts: nn.Module, decay: float) -> None:
        self._parameters: list[torch.Tensor] = list(parts.parameters())
        self._decay = decay
        self.mean = [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the parameters after step number ``step``."""
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, self._parameters, weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module with the mean in place of its parameters, for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, mean in zip(self._parameters, self.mean, strict=True):
            parameter.data, mean.data = mean.data, parameter.data


def save(path: Path, recipe: Recipe, progress: Progress, parts: nn.Module, optimizer: Any, average: Average) -> None:
    """Replaces the file at ``path``; whoever reads it finds the old state or the new one, never half of either."""
    state = {
        "recipe": _essence(recipe),
        "progress": asdict(progress),
        "parts": parts.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.mean,
    }
    scratch = path.with_name(path.name + ".new")
    with scratch.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)


def load(path: Path, recipe: Recipe, parts: nn.Module, optimizer: Any, average: Average) -> Progress:
    """Puts everything back as it was saved.

    Raises:
        BadInput: if the file belongs to another recipe.
    """
    device = next(parts.parameters()).device
    state = torch.load(path, map_location=device, weights_only=True)
    if state["recipe"] != _essence(recipe):
        raise BadInput(
            f"'{path}' was trained by another recipe than '{recipe.name}' is now",
            remedy="name another folder with --out, or go on with the recipe it was begun with",
            field="out",
        )
    parts.load_state_dict(state["parts"])
    optimizer.load_state_dict(state["optimizer"])
    with torch.no_grad():
        for mean, saved in zip(average.mean, state["average"], strict=True):
            mean.copy_(saved)
    return Progress(**state["progress"])


def _essence(recipe: Recipe) -> str:
    """What may not change between two parts of one run; how long it goes on and how it is watched may."""
    return repr((recipe.name, recipe.sizes, recipe.stages, recipe.seed, recipe.decay, recipe.clip, recipe.ema))


__all__ = ["Average", "Progress", "load", "save"]
