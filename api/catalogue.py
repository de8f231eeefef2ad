"""The published systems that Loupe knows, and which of them work: facts from a file, the state from the code."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict

from tools.errors import NotFound, did_you_mean
from tools.registry import Registry

T = TypeVar("T")

#: Registries whose classes may carry the ``number`` of a published system: module, name, and the stage of classes that
#: name none.
REGISTRIES = (("tools.vlm.method", "METHODS", ""), ("agents.strategy", "STRATEGIES", "agent"))
#: The family of methods that everything else is measured against; they are no published systems.
BASELINE = "baseline"


class System(BaseModel):
    """A published system, or a baseline.

    Attributes:
        number: its place in the catalogue; None for a baseline.
        name: what people call it.
        title, arxiv: of its paper; None where there is none.
        family: what kind of idea it is.
        stage: the stage of the model's pipeline at which it works, or agent, tool, training, benchmark.
        training_free: whether it works on a model as it is; None where the word does not apply.
        note: what that one word hides.
        status: whether Loupe has code for it.
        plugins: what it is called in requests and profiles; empty where it is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int | None
    name: str
    title: str | None = None
    arxiv: str | None = None
    family: str
    stage: str
    training_free: bool | None
    note: str | None = None
    status: Literal["works", "missing"] = "missing"
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plugin:
    """A class in a registry that stands for a system, or for a part of one.

    Attributes:
        name: what it is called in requests and profiles.
        kind: the class.
        stage: where it works.
    """

    name: str
    kind: type[Any] = field(repr=False)
    stage: str

    @property
    def number(self) -> int | None:
        """The number of its system."""
        number: int | None = getattr(self.kind, "number", None)
        return number


def facts() -> list[System]:
    """The published systems by number, all of them as missing: what is known without looking at the code."""
    text = (resources.files("api") / "catalogue.yaml").read_text("utf-8")
    return [System.model_validate(row) for row in yaml.safe_load(text)]


def plugins() -> list[Plugin]:
    """The classes that carry a number, and the baselines; imports all modules of all registries."""
    return [
        Plugin(name, kind, getattr(kind, "stage", None) or stage)
        for module, attribute, stage in REGISTRIES
        for name, kind in _classes(getattr(importlib.import_module(module), attribute))
        if getattr(kind, "number", None) is not None or getattr(kind, "family", None) == BASELINE
    ]


def systems() -> list[System]:
    """All systems by number, then the baselines by name, each with its state as the code has it."""
    return join(facts(), plugins())


def join(known: Sequence[System], found: Sequence[Plugin]) -> list[System]:
    """``known`` with the state that ``found`` gives them, then the baselines.

    Raises:
        ValueError: a class with a number that no system has.
    """
    numbers = {system.number for system in known}
    strangers = [plugin.name for plugin in found if plugin.number is not None and plugin.number not in numbers]
    if strangers:
        raise ValueError(f"the catalogue has no system with the number of {', '.join(strangers)}")
    return [_as_coded(system, found) for system in known] + [
        System(
            number=None,
            name=plugin.kind.title if plugin.kind.arxiv is None else plugin.kind.__name__,
            title=plugin.kind.title if plugin.kind.arxiv is not None else None,
            arxiv=plugin.kind.arxiv,
            family=BASELINE,
            stage=plugin.stage,
            training_free=plugin.kind.training_free,
            status="works",
            plugins=(plugin.name,),
        )
        for plugin in sorted(found, key=lambda plugin: plugin.name)
        if plugin.number is None
    ]


def find(among: Sequence[System], wanted: str) -> System:
    """The system with this number, name or plug-in name.

    Raises:
        NotFound: there is none.
    """
    key = wanted.strip().lower()
    for system in among:
        if key in (str(system.number), system.name.lower(), *system.plugins):
            return system
    names = [system.name for system in among] + [name for system in among for name in system.plugins]
    raise NotFound(f"there is no method '{wanted}'", remedy=_nearest(key, names), field="method")


def _classes(registry: Registry[T]) -> Iterator[tuple[str, type[T]]]:
    for name in registry.names():
        yield name, registry.get(name)


def _as_coded(system: System, found: Sequence[Plugin]) -> System:
    parts = [plugin for plugin in found if plugin.number == system.number]
    if not parts:
        return system
    names = tuple(sorted(plugin.name for plugin in parts))
    stages = "+".join(dict.fromkeys(plugin.stage for plugin in sorted(parts, key=lambda part: part.name)))
    return system.model_copy(update={"status": "works", "stage": stages, "plugins": names})


def _nearest(key: str, names: Sequence[str]) -> str:
    """The nearest name alone: a list of all of them would be a page."""
    told = did_you_mean(key, [name.lower() for name in names])
    return told.partition(" known:")[0] if told.startswith("did you mean") else "see `loupe methods`"
