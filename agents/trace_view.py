"""A trace in the terminal: the question, the tree of looks on the video's timeline, the answer with its citations."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from agents.answer import Answer, SubQuestion
from agents.events import Event, RunInfo, Trace, ViewNode
from tools.evidence import Cost, Evidence
from tools.media.span import Span, format_time
from tools.media.view import Region

#: Widths in cells below which and above which the timeline neither shrinks nor grows, and of the cost beside it.
_BAR = (16, 48)
_COST = 14
_TOOL_STYLE = {"search": "blue", "listen": "cyan", "read": "green", "detect": "yellow", "look": "magenta"}
_STATUS_STYLE = {"running": "cyan", "done": "green", "failed": "red", "crashed": "red"}
_VERDICT_STYLE = {"grounded": "green", "partially_grounded": "yellow", "not_found": "yellow"}
_CHECK = {"confirmed": ("✔", "green"), "rejected": ("✘", "red"), "unverified": ("?", "yellow")}
_STATE = {"answered": ("●", "green"), "open": ("○", "yellow"), "not_found": ("○", "red")}


class TraceView:
    """A trace as something that rich can print, at any width from 60 cells on."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._spans = {video.id: video.info.span for video in trace.videos}
        self._names = {video.id: f"v{i}" for i, video in enumerate(trace.videos, 1)}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        bar = min(max(width // 4, _BAR[0]), _BAR[1])
        yield from self._head(width)
        yield Text()
        yield from self._looks(width, bar)
        yield Text()
        yield from self._end(width)

    def _head(self, width: int) -> Iterator[RenderableType]:
        info = self._trace.info
        yield Text(_plain(info.question.text), style="bold")
        for i, option in enumerate(info.question.options):
            yield _fit(Text(f"  {chr(ord('A') + i)}  {_plain(option)}"), width)
        line = Text()
        line.append(info.status, style=_STATUS_STYLE[info.status])
        facts = [info.id, f"profile {info.profile}", f"strategy {info.question.strategy}", info.model or "rules"]
        line.append(" · " + " · ".join(facts), style="dim")
        yield line
        if info.forked_from is not None:
            yield Text(f"forked from {info.forked_from.trace_id} at step {info.forked_from.step}", style="dim")
        if info.error:
            yield Text(_plain(info.error), style="red")
        for video in self._trace.videos[:8]:
            name = f"{self._names[video.id]}  {_plain(video.name)}"
            yield _fit(Text(f"{name}  {format_time(video.info.duration)}", style="dim"), width)
        if len(self._trace.videos) > 8:
            yield Text(f"and {len(self._trace.videos) - 8} more videos", style="dim")

    def _looks(self, width: int, bar: int) -> Iterator[Text]:
        """The tree: sub-questions, the looks that served them, the looks that zoom into those."""
        parts = {part.id: part for part in _sub_questions(self._trace)}
        groups: dict[str, list[ViewNode]] = {id_: [] for id_ in parts}
        for node in self._trace.tree():
            event = self._event(node)
            groups.setdefault(str(event.data.get("sub_question") or ""), []).append(node)
        if any(groups.values()) and len(self._spans) == 1:
            yield self._row(Text(), self._axis(bar), Text(), width, bar)
        for id_, nodes in groups.items():
            if not nodes and id_ not in parts:
                continue
            yield from self._part(parts.get(id_), nodes, width)
            for i, node in enumerate(nodes):
                yield from self._node(node, "", i == len(nodes) - 1, width, bar)
        if not groups:
            yield Text("nothing was looked at", style="dim")

    def _part(self, part: SubQuestion | None, nodes: Sequence[ViewNode], width: int) -> Iterator[Text]:
        if part is None:
            checks = all(self._event(node).node == "verify" for node in nodes)
            line = Text("checks of the citations" if checks else "the question as a whole", style="bold")
        else:
            mark, style = _STATE[part.state]
            line = Text.assemble((f"{mark} ", style), (f"{part.id} ", "bold"), _plain(part.text))
            if part.anchor:
                line.append(f" ({part.anchor})", style="dim")
        yield _fit(line, width)
        if part is not None and part.answer:
            yield _fit(Text.assemble(("│ ", "dim"), ("= ", "dim"), (_plain(part.answer), "italic")), width)

    def _node(self, node: ViewNode, guide: str, last: bool, width: int, bar: int) -> Iterator[Text]:
        event = self._event(node)
        branch = Text.assemble((guide + ("└─ " if last else "├─ "), "dim"), self._label(event))
        yield self._row(branch, self._bar(event, bar), _cost(event.cost), width, bar)
        below = guide + ("   " if last else "│  ")
        stem = below + ("│  " if node.children else "   ")
        yield _fit(Text.assemble((stem, "dim"), _found(event)), width)
        for i, child in enumerate(node.children):
            yield from self._node(child, below, i == len(node.children) - 1, width, bar)

    def _label(self, event: Event) -> Text:
        label = Text.assemble((f"{event.step} ", "dim"))
        check = _CHECK.get(str(event.data.get("verdict", "")))
        if check is not None:
            label.append(f"{check[0]} check ", style=check[1])
        label.append(event.tool or event.node, style=f"bold {_TOOL_STYLE.get(event.tool or '', 'white')}")
        if event.tool == "search":
            query = _plain(str(event.args.get("query") or ""))
            label.append(f" ‘{query}’" if query else " everything in order")
        view = event.view
        if view is not None:
            label.append(f" {self._names.get(view.video_id, '?')}" if len(self._names) > 1 else "", style="dim")
            label.append(f" {view.span}")
            if event.tool != "listen":
                label.append(f" {view.fps:.2g} fps {view.short_side} px", style="dim")
            if view.region is not None:
                label.append(f" {_box(view.region)}", style="dim")
        return label

    def _axis(self, bar: int) -> Text:
        """Start and end of the one video."""
        (span,) = self._spans.values()
        start, end = format_time(span.start), format_time(span.end)
        return Text(start + end.rjust(bar - len(start)), style="dim")

    def _bar(self, event: Event, width: int) -> Text:
        """Where on its video's timeline a look lies (▒) and where it found something (█); of a search, its hits."""
        video_id, looked = self._where(event)
        whole = self._spans.get(video_id) if video_id is not None else None
        if whole is None:
            return Text()
        cells = ["─"] * width
        if looked is not None:
            _paint(cells, looked, whole, "▒")
        # Of a search only the best hit is marked as found; it is painted last, over the others.
        for rank, item in reversed(list(enumerate(event.evidence))):
            inside = item.span.intersect(looked) if looked is not None else item.span
            if item.video_id == video_id and inside is not None:
                _paint(cells, inside, whole, "█" if rank == 0 or event.tool != "search" else "▒")
        style = _TOOL_STYLE.get(event.tool or "", "white")
        bar = Text()
        for cell in cells:
            bar.append(cell, style="bright_black" if cell == "─" else style)
        return bar

    def _where(self, event: Event) -> tuple[str | None, Span | None]:
        """The video that a bar is drawn for, and the span that was looked at (None: all of it, unshaded)."""
        if event.view is not None:
            return event.view.video_id, event.view.span
        best = event.evidence[0].video_id if event.evidence else None
        return best or next(iter(self._spans), None), None

    def _row(self, left: Text, middle: Text, right: Text, width: int, bar: int) -> Text:
        room = width - bar - _COST - 2
        return Text(" ").join([_fit(left, room, pad=True), _fit(middle, bar, pad=True), _right(right, _COST)])

    def _end(self, width: int) -> Iterator[Text]:
        answer = self._trace.result
        if answer is None:
            last = self._trace.events[-1].node if self._trace.events else "nothing"
            yield Text(f"no answer yet; the last event is {last}", style="yellow")
        else:
            yield from self._answer(answer, width)
        for warning in self._trace.info.warnings:
            yield Text(f"! {_plain(warning)}", style="yellow")
        yield _totals(answer.cost if answer is not None else self._trace.cost(), len(self._trace.events))

    def _answer(self, answer: Answer, width: int) -> Iterator[Text]:
        style = _VERDICT_STYLE[answer.verdict]
        head = Text("▌ ", style=style)
        if answer.option:
            head.append(f"{answer.option}: ", style=f"bold {style}")
        yield head.append(_plain(answer.answer), style="bold")
        verdict = answer.verdict.replace("_", " ")
        facts = f" · confidence {answer.confidence:.2f} · {answer.stopped}"
        yield Text.assemble(("▌ ", style), (verdict, style), (facts, "dim"))
        for citation in answer.citations:
            mark, colour = _CHECK[citation.verdict]
            line = Text.assemble(("▌ ", style), (f"{mark} ", colour))
            if len(self._names) > 1:
                line.append(f"{self._names.get(citation.video_id, '?')} ", style="dim")
            line.append(f"{Span.of(citation.start, citation.end)} ", style="bold")
            line.append(f"{citation.kind} ", style="dim")
            yield _fit(line.append(f"“{_plain(citation.quote)}”"), width)
        for note in answer.notes:
            yield Text.assemble(("▌ ", style), (f"! {_plain(note)}", "yellow"))

    def _event(self, node: ViewNode) -> Event:
        event = self._trace.event(node.event)
        assert event is not None  # the tree is made from the events
        return event


def runs_table(runs: Sequence[RunInfo]) -> Table:
    """The runs for ``loupe trace ls``, as they come."""
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("trace", style="dim", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("question", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("answer", ratio=3, no_wrap=True, overflow="ellipsis")
    for run in runs:
        said = run.answer if run.answer is not None else run.error or ""
        style = _VERDICT_STYLE.get(run.verdict or "", "dim")
        status = Text(run.status, style=_STATUS_STYLE[run.status])
        table.add_row(run.id, status, Text(_plain(run.question.text)), Text(_plain(said), style=style))
    return table


def _sub_questions(trace: Trace) -> Sequence[SubQuestion]:
    """The parts as they stand: from the answer, or from the last event that names them."""
    if trace.result is not None:
        return trace.result.sub_questions
    for event in reversed(trace.events):
        parts = event.data.get("sub_questions")
        if isinstance(parts, list):
            return [SubQuestion.model_validate(part) for part in parts]
    return ()


def _found(event: Event) -> Text:
    """What a look brought, the surest first."""
    line = Text()
    if event.evidence:
        shown = [item for item in event.evidence if item.text] or list(event.evidence)
        best: Evidence = shown[0] if event.tool == "search" else max(shown, key=lambda item: item.score)
        line.append(f"“{_plain(best.text)}”" if best.text else best.kind)
        line.append(f" {format_time(best.span.start)}", style="dim")
        if len(event.evidence) > 1:
            line.append(f" +{len(event.evidence) - 1}", style="dim")
    else:
        line.append("nothing found", style="dim")
    if event.note:
        line.append(f"  {_plain(event.note)}", style="yellow")
    return line


def _cost(cost: Cost) -> Text:
    parts = []
    if cost.frames_decoded:
        parts.append(f"{cost.frames_decoded} fr")
    if cost.visual_tokens_kept:
        parts.append(f"{_count(cost.visual_tokens_kept)} tok")
    if cost.seconds or not parts:
        parts.append(f"{cost.seconds:.2f} s" if cost.seconds < 10 else f"{cost.seconds:.0f} s")
    return Text(" ".join(parts[:2]), style="dim")


def _totals(cost: Cost, events: int) -> Text:
    calls = ", ".join(f"{count} {tool}" for tool, count in cost.tool_calls.items())
    parts = [f"{cost.steps} steps", calls, f"{cost.frames_decoded} frames", f"{events} events", f"{cost.seconds:.1f} s"]
    if cost.visual_tokens_in:
        parts.insert(3, f"{_count(cost.visual_tokens_kept)} of {_count(cost.visual_tokens_in)} visual tokens kept")
    if cost.llm_tokens_in or cost.llm_tokens_out:
        parts.insert(3, f"{_count(cost.llm_tokens_in)} + {_count(cost.llm_tokens_out)} LLM tokens")
    return Text(" · ".join(part for part in parts if part), style="dim")


def _count(number: int) -> str:
    return str(number) if number < 10_000 else f"{number / 1000:.0f}k"


def _box(region: Region) -> str:
    """The corners in per cent of the frame."""
    x0, y0, x1, y1 = (round(100 * side) for side in (region.x0, region.y0, region.x1, region.y1))
    return f"x{x0}-{x1} y{y0}-{y1}%"


def _paint(cells: list[str], span: Span, whole: Span, mark: str) -> None:
    """Marks the cells that the span touches, one at least."""
    scale = len(cells) / max(whole.duration, 1e-9)
    first = min(max(int((span.start - whole.start) * scale), 0), len(cells) - 1)
    last = min(max(int((span.end - whole.start) * scale - 1e-9), first), len(cells) - 1)
    cells[first : last + 1] = [mark] * (last + 1 - first)


def _plain(text: str) -> str:
    """The text on one line without control characters: what is seen in a video must not steer the terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _fit(text: Text, width: int, *, pad: bool = False) -> Text:
    text = text.copy()
    text.truncate(max(width, 1), overflow="ellipsis", pad=pad)
    text.no_wrap = True
    return text


def _right(text: Text, width: int) -> Text:
    text = _fit(text, width)
    text.pad_left(width - text.cell_len)
    return text
