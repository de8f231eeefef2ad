"""How one look is shown: in a terminal, and as a page of heat maps."""

import io
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from tools.errors import BadInput
from tools.evidence import Observation
from tools.media.view import View
from tools.vlm.heatmap import sheet

#: Stages in the order in which they run, and what a reader calls them.
_STAGES = {
    "select": "choosing frames",
    "prepare": "preparing",
    "encode": "vision tower",
    "connect": "connector",
    "merge": "merging",
    "prefill": "prefill",
    "decode": "decoding",
}


class LookView:
    """A look in a terminal: the answer, then what it cost."""

    def __init__(self, seen: Observation, name: str, view: View) -> None:
        self._seen = seen
        self._name = name
        self._view = view

    def __rich_console__(self, console: Console, _: ConsoleOptions) -> RenderResult:
        seen, view = self._seen, self._view
        best = seen.evidence[0] if seen.evidence else None
        yield Text(_plain(best.text) if best else "The model said nothing.", style="bold")
        report: dict[str, Any] = dict(seen.report or {})
        place = str(view.span) if view.span.duration else str(view.span).partition("-")[0]
        facts = [f"confidence {best.score:.2f}" if best else "", f"{self._name} {place}"]
        if view.region is not None:
            facts.append("region " + ",".join(f"{side:.2g}" for side in view.region.model_dump().values()))
        if best:
            facts.append(best.model)
        yield Text(" · ".join(fact for fact in facts if fact), style="dim")
        if seen.note:
            yield Text(f"note: {seen.note}", style="yellow")
        if report:
            yield _account(report, seen)


def save_heatmap(path: Path, seen: Observation, question: str, name: str) -> None:
    """Writes the page of heat maps as a PNG.

    Raises:
        BadInput: it cannot be written.
    """
    report: dict[str, Any] = dict(seen.report or {})
    said = seen.evidence[0].text if seen.evidence else ""
    methods = " + ".join(report.get("methods") or ()) or "no compression"
    tokens_in, kept = seen.cost.visual_tokens_in, seen.cost.visual_tokens_kept
    lines = [f"“{said}”"] if said else []
    lines.append(f"{name} · {methods} · {kept} of {tokens_in} visual tokens a layer, {_percent(kept, tokens_in)}")
    file = io.BytesIO()
    sheet(seen.frames, seen.heat, title=question, lines=lines).save(file, "PNG")
    try:
        path.write_bytes(file.getvalue())
    except OSError as error:
        raise BadInput(
            f"the heat map cannot be written to '{path}' ({error.strerror})",
            remedy="name another file",
            field="--heatmap",
        ) from error


def _account(report: dict[str, Any], seen: Observation) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(style="dim")
    frames_in, frames_kept = report["frames_in"], report["frames_kept"]
    if frames_kept != frames_in:
        table.add_row("frames", f"{frames_in} → {frames_kept}", _percent(frames_kept, frames_in), "")
    before = "; ".join(f"{one['method']} {one['tokens']:,}" for one in report["stages"])
    kept = ", ".join(filter(None, [before, f"layers {_layers(report['layers'])}"]))
    tokens_in, tokens_kept = report["tokens_in"], report["tokens_kept"]
    table.add_row("tokens", f"{tokens_in:,} → {tokens_kept:,}", _percent(tokens_kept, tokens_in), kept)
    for name, key, unit in (("prefill", "flops", "FLOP"), ("KV cache", "kv_bytes", "B")):
        part, whole = report[key], report[f"{key}_full"]
        table.add_row(name, f"{_amount(whole, unit)} → {_amount(part, unit)}", _percent(part, whole), "")
    stages = list(_stages(report["seconds"]))
    # What is left went into decoding the video and, the first time, into opening the model.
    stages.append(("video and loading", max(0.0, seen.cost.seconds - sum(took for _, took in stages))))
    spent = ", ".join(f"{stage} {_seconds(took)}" for stage, took in stages)
    table.add_row("time", _seconds(seen.cost.seconds), "", spent)
    return table


def _stages(seconds: dict[str, float]) -> Iterator[tuple[str, float]]:
    for stage, name in _STAGES.items():
        if seconds.get(stage, 0.0) >= 0.0005:
            yield name, seconds[stage]


def _plain(text: str) -> str:
    """On one line without control characters: what a model says must not steer the terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _layers(layers: Sequence[int]) -> str:
    """Tokens a layer as runs: ``64 x 8, 32 x 16``."""
    return ", ".join(f"{count:,} × {len(list(run))}" for count, run in groupby(layers))


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f} %" if 0 < share < 10 else f"{share:.0f} %"


def _amount(number: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G", "T"):
        if number < 1000 or prefix == "T":
            break
        number /= 1000
    return f"{number:.3g} {prefix}{unit}"


def _seconds(took: float) -> str:
    return f"{took * 1000:.0f} ms" if took < 1 else f"{took:.1f} s"
