"""loupe trace: what was done for each question."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.commands import _options

if TYPE_CHECKING:
    from agents.trace import TraceStore

app = typer.Typer(
    help="What was done for each question: list, show, replay.", no_args_is_help=True, rich_markup_mode=None
)

Id = Annotated[str, typer.Argument(metavar="TRACE_ID", help="As `loupe trace ls` shows it, or 'last'.")]


def _store() -> "TraceStore":
    from agents.trace import TraceStore
    from configs import home_dir

    return TraceStore(home_dir() / "traces")


def _resolve(store: "TraceStore", trace_id: str) -> str:
    from tools.errors import NotFound

    if trace_id != "last":
        return trace_id
    runs = store.list(1)
    if not runs:
        raise NotFound("there are no traces yet", remedy="ask a question first", field="TRACE_ID")
    return runs[0].id


@app.command("ls")
def ls(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20, json: _options.Json = False
) -> None:
    """List runs, newest first."""
    from agents.trace_view import runs_table
    from api.show import err, out, print_json

    runs = _store().list(limit)
    if json:
        print_json([run.model_dump(mode="json") for run in runs])
    elif runs:
        out().print(runs_table(runs))
    else:
        err().print("no traces yet")


@app.command("show")
def show(trace_id: Id, json: _options.Json = False) -> None:
    """Show a run: the tree of looks, what each found and cost, and the answer."""
    from agents.trace_view import TraceView
    from api.show import out, print_json

    store = _store()
    trace = store.open(_resolve(store, trace_id))
    if json:
        events = [event.model_dump(mode="json") for event in trace.events]
        result = trace.result.model_dump(mode="json") if trace.result else None
        print_json({"info": trace.info.model_dump(mode="json"), "events": events, "result": result})
    else:
        out().print(TraceView(trace))


@app.command("replay")
def replay(
    trace_id: Id,
    live: Annotated[bool, typer.Option("--live", help="Call the tools anew instead of reading the record.")] = False,
    profile: _options.Profile = None,
    json: _options.Json = False,
) -> None:
    """Run the same decisions again and tell what differs; the exit status is 1 where something does."""
    import asyncio

    from rich.text import Text

    from agents.loupe import Loupe
    from agents.replay import replay as run_again
    from api.show import out, print_json, show_answer
    from configs import home_dir, load_profile

    store = _store()
    trace = store.open(_resolve(store, trace_id))
    if live:
        with Loupe.open(load_profile(profile), home_dir()) as loupe:
            again = asyncio.run(run_again(trace, loupe.toolbox))
    else:
        again = asyncio.run(run_again(trace))
    if json:
        print_json({"answer": again.answer.model_dump(mode="json"), "differences": list(again.differences)})
    else:
        show_answer(out(), again.answer, {video.id: video.name for video in trace.videos})
        for difference in again.differences:
            out().print(Text(difference, style="yellow"))
        if not again.differences:
            out().print("[green]the same calls and the same answer[/green]")
    if again.differences:
        raise typer.Exit(1)


@app.command("export")
def export(trace_id: Id, path: Annotated[Path, typer.Argument(help="JSON file with OpenTelemetry spans.")]) -> None:
    """Write a run as OpenTelemetry spans with GenAI attributes (OTLP JSON)."""
    from agents.otel import export as write

    store = _store()
    write(store.open(_resolve(store, trace_id)), path)
