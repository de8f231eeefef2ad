"""The demo: a video is made, served, indexed and asked about over HTTP, and the answers are compared with the truth."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from agents.answer import Answer
from api.child import Child
from api.client import Client
from api.show import describe_step, err, progress, show_answer
from tools.errors import BadInput
from tools.media.span import Span, format_time

if TYPE_CHECKING:
    from evals.synth.demo import DemoQuestion

#: Where the demo keeps everything.
FOLDER = Path("out/demo")


@dataclass(frozen=True)
class Asked:
    """A question of the demo with its answer; ``right`` is None where the truth is not known."""

    question: str
    answer: Answer
    right: bool | None


def run(console: Console, video: Path | None, question: str | None, profile: str | None = None) -> list[Asked]:
    """Runs the whole demo and stops what it started.

    Args:
        video: the user's own file; None for the demo video, which is made if it is not there yet.
        question: None for the questions of the demo video.

    Raises:
        BadInput: a file of the user's own without a question.
    """
    if video is not None and question is None:
        raise BadInput(
            "a video of your own needs a question", remedy='write loupe demo VIDEO "QUESTION"', field="QUESTION"
        )
    path = video.expanduser().absolute() if video is not None else _make(console).absolute()
    home = (FOLDER / "home").absolute()
    status = err().status("starting the service on Ray Serve")
    told: list[str] = []

    def on_wait(text: str) -> None:
        status.update(f"starting the service: {text}")
        if not err().is_terminal and told[-1:] != [text]:
            told.append(text)
            err().print(Text(f"starting the service: {text}"), soft_wrap=True)

    roots = {"LOUPE_ROOTS": str(path.parent)}
    begun = time.monotonic()
    child = Child(home, FOLDER / "service.log", profile=profile, environment=roots, on_wait=on_wait)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with status:
        child.__enter__()
    try:
        client = child.client
        took = time.monotonic() - begun
        tools = ", ".join(client.ready()["tools"])
        console.print(f"service at {client.url} after {took:.0f} s, a Ray Serve deployment each for {tools}")
        video_id, name = _index(console, client, path)
        wanted = [(question, None)] if question else [(one.question, one) for one in _questions()]
        return [_ask(console, client, home, text, truth, {video_id: name}) for text, truth in wanted]
    finally:
        child.stop()
        console.print("[dim]service stopped[/dim]")


def _make(console: Console) -> Path:
    path = FOLDER / "demo.mp4"
    if path.exists():
        console.print(f"demo video {path} (made earlier)")
        return path
    from evals.synth.demo import demo_script
    from evals.synth.write import write

    begun = time.monotonic()
    with err().status("drawing and speaking the demo video"):
        script = demo_script()
        write(script, path)
    console.print(f"demo video {path}: {format_time(script.duration)} made in {time.monotonic() - begun:.0f} s")
    return path


def _questions() -> "list[DemoQuestion]":
    from evals.synth.demo import demo_questions

    return demo_questions()


def _index(console: Console, client: Client, path: Path) -> tuple[str, str]:
    done = client.register(path)
    video, job = done["video"], done["job"]
    if job is not None:
        with progress(video["name"]) as log:
            job = client.wait(job, lambda now: log("indexing", now["seconds"], now["total"]))
        clips = ", ".join(f"{count} {kind}" for kind, count in job["clips"].items())
        seconds = job["ended"] - job["started"]
        console.print(f"indexed {video['name']}: {clips} in {seconds:.0f} s, {job['realtime']:.1f}x real time")
    else:
        console.print(f"{video['name']} is indexed already")
    return video["id"], video["name"]


def _ask(
    console: Console, client: Client, home: Path, text: str, truth: "DemoQuestion | None", names: dict[str, str]
) -> Asked:
    console.print()
    console.rule(Text(text, style="bold cyan"), align="left")
    body = {"text": text, "scope": {"video_ids": list(names)}}
    data: dict[str, object] = {}
    with err().status("thinking") as status:
        for name, data in client.events(body):
            if name != "answer":
                status.update(describe_step(data))
    answer = Answer.model_validate(data)
    show_answer(console, answer, names)
    console.print(f"[dim]trace {home / 'traces' / answer.trace_id}[/dim]")
    if truth is None:
        return Asked(text, answer, None)
    said = " ".join([answer.answer, *(one.quote for one in answer.citations)]).lower()
    words = all(word.lower() in said for word in truth.answer)
    cited = any(Span.of(one.start, one.end).overlaps(truth.span) for one in answer.citations)
    expected = f"{' '.join(truth.answer)} ({truth.kind}, {truth.span})"
    verdict = Text("✔ as in the script of the video: ", "green") if words and cited else Text("✘ the truth is: ", "red")
    console.print(verdict.append(expected))
    return Asked(text, answer, words and cited)
