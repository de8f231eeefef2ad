"""How answers, evidence and progress look in a terminal."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agents.answer import Answer
from tools.evidence import Evidence
from tools.media.span import Span, format_time

_CHECK = {"confirmed": ("✔", "green"), "rejected": ("✘", "red"), "unverified": ("?", "yellow")}
_VERDICT = {"grounded": "green", "partially_grounded": "yellow", "not_found": "yellow"}
_KIND = {"speech": "said", "text": "written", "object": "detected", "visual": "seen"}
#: Where there is no terminal, progress is a line each time that this share more is done.
_LINE_EVERY = 0.1


def out() -> Console:
    """Standard output: results. As wide as it needs to be where it is no terminal, so that no line is broken."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, width=200)


def err() -> Console:
    """Standard error: progress and complaints."""
    return Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """One JSON document on standard output, nothing else."""
    out().out(json.dumps(data, indent=2, ensure_ascii=False))


def show_answer(console: Console, answer: Answer, names: Mapping[str, str]) -> None:
    """The answer, its verdict and cost, its citations, and where its trace is."""
    head = answer.answer or "Not found in the video."
    console.print(Text(f"{answer.option}) {head}" if answer.option else head, style="bold"))
    line = Text(answer.verdict.replace("_", " "), style=_VERDICT[answer.verdict])
    cost = answer.cost
    facts = [
        f"confidence {answer.confidence:.2f}",
        f"{cost.steps} steps",
        f"{sum(cost.tool_calls.values())} tool calls",
        f"{cost.frames_decoded} frames decoded",
        f"{cost.seconds:.1f} s",
    ]
    if answer.stopped != "answered":
        facts.append({"budget": "stopped by the budget", "exhausted": "nothing left to try"}[answer.stopped])
    console.print(line.append(" · " + " · ".join(facts), style="dim"))
    if answer.citations:
        console.print(_citations(answer, names))
    for note in answer.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    if answer.verdict == "not_found" and answer.searched:
        looked = sorted(
            {(one.tool, names.get(one.video_id, one.video_id[:8]), str(one.span)) for one in answer.searched}
        )
        console.print(Text("looked in vain:", style="dim"))
        for tool, name, span in looked[:8]:
            console.print(Text(f"  {tool:<7} {name} {span}", style="dim"))
        if len(looked) > 8:
            console.print(Text(f"  and {len(looked) - 8} more places", style="dim"))


def _citations(answer: Answer, names: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(4):
        table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for i, one in enumerate(answer.citations, 1):
        mark, style = _CHECK[one.verdict]
        table.add_row(
            f"  [{i}]",
            Text(mark, style=style),
            Text(f"{names.get(one.video_id, one.video_id[:8])} {Span.of(one.start, one.end)}", style="cyan"),
            Text(_KIND[one.kind], style="dim"),
            Text(f"“{one.quote}”"),
        )
    return table


def evidence_table(evidence: Sequence[Evidence], names: Mapping[str, str]) -> Table:
    """Search hits, best first."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("score", "when", "what", "video"):
        table.add_column(column, no_wrap=True)
    table.add_column("text", ratio=1)
    for one in evidence:
        name = names.get(one.video_id, one.video_id[:8])
        table.add_row(
            f"{one.score:.2f}",
            Text(str(one.span), style="cyan"),
            Text(_KIND[one.kind], style="dim"),
            name,
            Text(one.text),
        )
    return table


def describe_step(step: Mapping[str, Any]) -> str:
    """One line about a step of the agent."""
    name = step["tool"] or step["node"]
    view, args = step["view"], step["args"]
    where = f" {Span.model_validate(view['span'])}" if view else ""
    what = f" '{args['query']}'" if args.get("query") else ""
    found = f" → {len(step['evidence'])} found" if step["tool"] else ""
    return f"{name}{where}{what}{found}"


class _Clock(ProgressColumn):
    """Seconds of video that are done, as clock times."""

    def render(self, task: Task) -> Text:
        return Text(f"{format_time(task.completed)}/{format_time(task.total or 0)}", style="cyan")


class _Realtime(ProgressColumn):
    """How many seconds of video go by in a second."""

    def render(self, task: Task) -> Text:
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:5.1f}x real time", style="dim")


class ProgressLog:
    """Progress of passes over a video: bars on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, name: str, bars: Progress | None) -> None:
        self._console = console
        self._name = name
        self._bars = bars
        self._tasks: dict[str, Any] = {}
        self._told: dict[str, float] = {}
        self._begun = time.monotonic()

    def __call__(self, stage: str, seconds: float, total: float) -> None:
        """A pass has come to ``seconds`` of ``total``."""
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(f"{self._name} · {stage}", total=total)
            self._bars.update(self._tasks[stage], completed=seconds)
            return
        share = seconds / total if total else 1.0
        told = self._told.get(stage, 0.0)
        if share - told >= _LINE_EVERY or (share >= 1.0 > told):
            self._told[stage] = share
            rate = seconds / max(time.monotonic() - self._begun, 1e-6)
            line = f"{self._name}: {stage} {format_time(seconds)}/{format_time(total)}, {rate:.1f}x real time"
            self._console.print(Text(line))


@contextmanager
def progress(name: str) -> Iterator[ProgressLog]:
    """Shows progress on standard error while it is open."""
    console = err()
    if not console.is_terminal:
        yield ProgressLog(console, name, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), _Clock(), _Realtime(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True) as bars:
        yield ProgressLog(console, name, bars)
