"""What a method's own class says about itself: prose, options with defaults and meaning; and the page made of it."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from api.catalogue import BASELINE, Plugin, System

#: The command that writes the page.
COMMAND = "loupe methods --markdown > docs/methods.md"
_ATTRIBUTE = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.*)")
_INTRO = f"""# Methods

Made from the code by `{COMMAND}`; a test compares.

A method is named in a request, in a profile (`vlm.compression`) or on the command line as
`name:option=value,option=value`, several joined by `+`:

    loupe look talk.mp4 --at 1:23 --question "What is this?" --method divprune:keep=0.1+fastv

`:tokens=64` and `:keep=0.1` alone change the budget of the profile's own method, `none` switches it off.
How to add one is told in [adding-a-method.md](adding-a-method.md).

Scores that are read from causal attention favour tokens that come early. Methods that use them have the option `score`:
`published` takes them as the paper does, `null` divides them by what uniform attention would have given.
"""


@dataclass(frozen=True)
class Option:
    """A field of a method: what it may be, what it is by default, what it means."""

    name: str
    values: str
    default: str
    meaning: str


def prose(kind: type[Any]) -> list[str]:
    """The class's docstring as paragraphs, without its section of attributes."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:")[0].replace("``", "`")
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def options(kind: type[Any]) -> list[Option]:
    """The fields that a request can set, its own first."""
    meanings: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        meanings |= _attributes(parent)
    fields = [item for item in dataclasses.fields(kind) if item.init] if dataclasses.is_dataclass(kind) else []
    own = set(kind.__annotations__)
    hints = typing.get_type_hints(kind)
    return [
        Option(item.name, _values(hints[item.name]), _default(item), meanings.get(item.name, ""))
        for item in sorted(fields, key=lambda item: item.name not in own)
    ]


def page(systems: Sequence[System], plugins: Sequence[Plugin]) -> str:
    """The page about all systems, in Markdown."""
    works = [system for system in systems if system.status == "works"]
    published = [system for system in systems if system.number is not None]
    count = sum(system.status == "works" for system in published)
    lines = [_INTRO, f"{count} of {len(published)} published systems work.", "", *_overview(published), ""]
    for heading, chosen in (
        ("Published systems", [system for system in works if system.number is not None]),
        ("Baselines", [system for system in works if system.family == BASELINE]),
    ):
        lines += [f"## {heading}", ""] if chosen else []
        for system in chosen:
            lines += _section(system, [plugin for plugin in plugins if plugin.name in system.plugins])
    return "\n".join(lines).rstrip() + "\n"


def _overview(systems: Sequence[System]) -> Iterator[str]:
    yield "| # | system | paper | family | stage | training-free | in Loupe |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for one in systems:
        free = {True: "yes", False: "no", None: ""}[one.training_free]
        free += f" ({one.note})" if one.note else ""
        used = ", ".join(f"[`{name}`](#{_anchor(one)})" for name in one.plugins) or "missing"
        title = f"{one.title} ({_link(one)})" if one.arxiv else one.title or ""
        yield _row(str(one.number), one.name, title, one.family, one.stage, free, used)


def _section(system: System, plugins: Sequence[Plugin]) -> Iterator[str]:
    yield f"### {_heading(system)}"
    yield ""
    if system.arxiv:
        yield f"{system.title}, {_link(system)}"
        yield ""
    for plugin in plugins:
        kind = plugin.kind
        facts = [f"`{plugin.name}`", f"stage {plugin.stage}", "training-free" if system.training_free else "trained"]
        if getattr(kind, "hosts", None):
            facts.append(f"on {', '.join(sorted(kind.hosts))}")
        if getattr(kind, "conflicts", None):
            facts.append(f"not together with methods of stage {', '.join(sorted(kind.conflicts))}")
        yield " · ".join(facts)
        yield ""
        for paragraph in prose(kind):
            yield paragraph
            yield ""
        if found := options(kind):
            yield "| option | values | default | meaning |"
            yield "| --- | --- | --- | --- |"
            for option in found:
                yield _row(f"`{option.name}`", option.values, f"`{option.default}`", option.meaning)
            yield ""


def _attributes(kind: type[Any]) -> dict[str, str]:
    """The entries of the section "Attributes" of the class's own docstring."""
    found: dict[str, str] = {}
    names: list[str] = []
    text = inspect.cleandoc(vars(kind).get("__doc__") or "").partition("\nAttributes:\n")[2]
    for line in text.splitlines():
        if line and not line.startswith(" "):
            break
        match = _ATTRIBUTE.fullmatch(line.strip()) if line.startswith("    ") and line[4:5] != " " else None
        if match:
            names = match["names"].split(", ")
        for name in names if line.strip() else ():
            more = match["text"] if match else line.strip()
            found[name] = f"{found[name]} {more}" if name in found and not match else more
    return {name: text.replace("``", "`") for name, text in found.items()}


def _values(hint: Any) -> str:
    """What may be written for a type, in words."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("`none`" if one is type(None) else _values(one) for one in inside)
    if origin is tuple:
        return f"{_values(inside[0])}s, with / between" if inside else "values with / between"
    words = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    return words.get(hint, str(getattr(hint, "__name__", hint)))


def _default(item: "dataclasses.Field[Any]") -> str:
    value = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
    if value is dataclasses.MISSING:
        return "required"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _heading(system: System) -> str:
    return system.name if system.number is None else f"{system.number} {system.name}"


def _anchor(system: System) -> str:
    """The anchor that Markdown renderers give the heading."""
    return re.sub(r"[^\w\- ]", "", _heading(system).lower()).replace(" ", "-")


def _link(system: System) -> str:
    return f"[arXiv {system.arxiv}](https://arxiv.org/abs/{system.arxiv})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
