"""Where a training stands, written so that it can be killed at any moment: one file that is replaced as a whole. And a
smaller folder of it, to go on with elsewhere."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tools.errors import BadInput
from training.nano.config import Recipe

_WEIGHTS, _PROGRESS = "model.safetensors", "progress.json"


@dataclass
class Progress:
    """How far a run is: ``step`` steps and ``seconds`` into stage number ``stage``, ``steps_before`` and
    ``seconds_before`` in the stages that are done; and how often it went on with another recipe or was moved, see
    `pack`."""

    stage: int = 0
    step: int = 0
    seconds: float = 0.0
    steps_before: int = 0
    seconds_before: float = 0.0
    changes: int = 0

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self.steps_before + self.step

    def next_stage(self) -> "Progress":
        """At the start of the next stage."""
        seconds = self.seconds_before + self.seconds
        return Progress(self.stage + 1, steps_before=self.steps, seconds_before=seconds, changes=self.changes)


class Average:
    """The exponential running mean of a module's parameters, young ones weighing more while there are few.

    Attributes:
        mean: one tensor for each parameter, in float32; ``begun`` is what it was when the present stage began.
    """

    def __init__(self, parts: nn.Module, decay: float) -> None:
        self._parameters: list[torch.Tensor] = list(parts.parameters())
        self._decay = decay
        self.mean = [parameter.detach().clone() for parameter in self._parameters]
        self.begun = self._copied()

    def begin(self) -> None:
        """Keeps the mean as what a stage begins with."""
        self.begun = self._copied()

    @torch.no_grad()
    def blend(self, share: float) -> None:
        """Mixes ``share`` of what the stage began with into the mean, and goes on from there."""
        torch._foreach_lerp_(self.mean, self.begun, share)
        for parameter, mean in zip(self._parameters, self.mean, strict=True):
            parameter.copy_(mean)

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

    def _copied(self) -> list[torch.Tensor]:
        return [mean.clone() for mean in self.mean]

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
        "begun": average.begun,
    }
    scratch = path.with_name(path.name + ".new")
    with scratch.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)


def load(
    path: Path, recipe: Recipe, parts: nn.Module, optimizer: Any, average: Average, *, changed: bool = False
) -> Progress:
    """Puts everything back as it was saved. Stages that have not begun may be others than they were: if those that have
    keep their lengths, the run is the same as one by the new recipe from its beginning.

    Args:
        changed: whether the recipe may teach otherwise from now on; sizes and names of stages that have begun stay.

    Raises:
        BadInput: if the file belongs to another recipe.
    """
    device = next(parts.parameters()).device
    state = torch.load(path, map_location=device, weights_only=True)
    progress = Progress(**state["progress"])
    begun = progress.stage + (progress.step > 0)
    was, now = state["recipe"], _essence(recipe)
    # Older copies of Loupe wrote a text there, which can't be taken apart.
    fits = isinstance(was, dict) and _frame(was, begun) == _frame(now, begun)
    same = fits and _until(was, begun) == _until(now, begun)
    if not fits or not (same or changed):
        raise BadInput(
            f"'{path}' was trained by another recipe than '{recipe.name}' is now",
            remedy="name another folder with --out, or go on with --changed if sizes and stages are the same",
            field="out",
        )
    parts.load_state_dict(state["parts"])
    optimizer.load_state_dict(state["optimizer"])
    # Older copies of Loupe kept no beginning; the stage then counts as begun here.
    begun_with = state.get("begun", state["average"])
    with torch.no_grad():
        for kept, saved in ((average.mean, state["average"]), (average.begun, begun_with)):
            for tensor, value in zip(kept, saved, strict=True):
                tensor.copy_(value)
    progress.changes += not same
    return progress


def pack(folder: Path, recipe: Recipe, progress: Progress, parts: nn.Module, average: Average) -> None:
    """Writes a folder a fifth as large as the state, from which another machine can go on: the running means in
    bfloat16, and how far the run is. What the optimizer remembers is found anew within a few dozen steps."""
    names = [name for name, _ in parts.named_parameters()]
    means = {name: mean.to("cpu", torch.bfloat16) for name, mean in zip(names, average.mean, strict=True)}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(means, folder / _WEIGHTS)
    told = {**asdict(progress), "stage": recipe.stages[progress.stage].name}
    (folder / _PROGRESS).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def unpack(folder: Path, recipe: Recipe, parts: nn.Module, average: Average) -> Progress:
    """Puts the parameters of a folder that `pack` wrote into the parts and their mean. The recipe may teach otherwise
    from now on, as long as it has the stage that the run was in, and the same sizes.

    Raises:
        BadInput: if it has not.
    """
    names = [stage.name for stage in recipe.stages]
    try:
        means = load_file(folder / _WEIGHTS)
        told = json.loads((folder / _PROGRESS).read_text(encoding="utf-8"))
        stage = names.index(told["stage"])
        with torch.no_grad():
            for (name, parameter), mean in zip(parts.named_parameters(), average.mean, strict=True):
                parameter.copy_(means[name])
                mean.copy_(parameter)
        average.begin()
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"'{folder}' holds no run that '{recipe.name}' can go on with: {error}",
            remedy="name a folder that --pack wrote, of a recipe with the same sizes and stages",
            field="begun",
        ) from error
    return Progress(**{**told, "stage": stage, "changes": told["changes"] + 1})


def _essence(recipe: Recipe) -> dict[str, Any]:
    """What may not change between two parts of one run; how long it goes on and how it is watched may."""
    whole = asdict(recipe)
    return {name: whole[name] for name in ("name", "sizes", "stages", "seed", "decay", "clip", "ema")}


def _until(essence: dict[str, Any], begun: int) -> dict[str, Any]:
    """It without the stages behind the first ``begun``."""
    return {**essence, "stages": essence["stages"][:begun]}


def _frame(essence: dict[str, Any], begun: int) -> Any:
    """What may not change in any case: or the parts have other shapes, or it is unclear where the run stands."""
    return essence["sizes"], [stage["name"] for stage in essence["stages"][:begun]]


__all__ = ["Average", "Progress", "load", "pack", "save", "unpack"]
