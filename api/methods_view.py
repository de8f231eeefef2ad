"""How the catalogue and one of its systems look in a terminal."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from api.catalogue import Plugin, System
from api.method_docs import options, prose

_FREE = {True: Text("✔", style="green"), False: Text("–", style="dim"), None: Text("")}


def table(chosen: Sequence[System], among: Sequence[System]) -> Table:
    """A row a system, those without code dimmed, and below how many of ``among`` work."""
    published = [system for system in among if system.number is not None]
    works = sum(system.status == "works" for system in published)
    baselines = len(among) - len(published)
    found = Table(
        box=None,
        pad_edge=False,
        header_style="dim",
        caption=f"{works} of {len(published)} published systems work here, and {baselines} baselines · "
        "`loupe methods NAME` shows options",
        caption_justify="left",
        caption_style="dim",
    )
    found.add_column("#", justify="right", no_wrap=True, style="dim")
    found.add_column("system", no_wrap=True, overflow="ellipsis", min_width=14)
    found.add_column("use as", no_wrap=True)
    found.add_column("stage", no_wrap=True)
    found.add_column("free", no_wrap=True, justify="center")
    found.add_column("family", no_wrap=True, overflow="ellipsis", ratio=1)
    found.add_column("arXiv", no_wrap=True, style="dim")
    last: System | None = None
    for system in chosen:
        if last is not None and last.number is not None and system.number is None:
            found.add_section()
        there = system.status == "works"
        style = "" if there else "dim"
        found.add_row(
            "" if system.number is None else str(system.number),
            Text(system.name, style="bold" if there else style),
            Text(" ".join(system.plugins), style="green") if there else Text("missing", style=style),
            Text(system.stage, style="cyan" if there else style),
            _FREE[system.training_free],
            Text(system.family, style=style),
            system.arxiv or "",
        )
        last = system
    return found


class Card:
    """One system with everything that is known about it."""

    def __init__(self, system: System, plugins: Sequence[Plugin]) -> None:
        self._system = system
        self._plugins = plugins

    def __rich_console__(self, console: Console, _: ConsoleOptions) -> RenderResult:
        one = self._system
        head = Text(one.name, style="bold")
        if one.number is not None:
            head = Text.assemble((f"{one.number} ", "dim"), head)
        yield head
        if one.title:
            yield Text(one.title, style="italic")
        free = {True: "training-free", False: "trained", None: ""}[one.training_free]
        facts = [f"arXiv {one.arxiv}" if one.arxiv else "", one.family, f"stage {one.stage}", free, one.note or ""]
        yield Text(" · ".join(fact for fact in facts if fact), style="dim")
        if one.status == "missing":
            yield Text("there is no code for it in Loupe yet", style="yellow")
        for plugin in self._plugins:
            yield Text()
            yield Text.assemble(("use as ", "dim"), (plugin.name, "bold green"))
            for paragraph in prose(plugin.kind):
                yield Text(paragraph.replace("`", ""))
            if found := options(plugin.kind):
                yield Text()
                rows = Table(box=None, pad_edge=False, header_style="dim")
                for column in ("option", "default", "values"):
                    rows.add_column(column, no_wrap=column != "values", max_width=None if column != "values" else 26)
                rows.add_column("meaning", ratio=1)
                for option in found:
                    rows.add_row(
                        Text(option.name, style="cyan"),
                        option.default,
                        Text(option.values.replace("`", ""), style="dim"),
                        Text(option.meaning.replace("`", "")),
                    )
                yield rows
