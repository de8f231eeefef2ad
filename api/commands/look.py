"""loupe look: one look at a moment of a video, without an agent and without an index."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.commands import _options

if TYPE_CHECKING:
    from tools.media.span import Span
    from tools.media.view import Region, View

#: Pictures that a look takes in where no rate is given, and the rate at most.
PICTURES, FPS = 32, 2.0


def command(
    video: Annotated[str, typer.Argument(metavar="FILE_OR_ID", help="A video file, or the id of one.")],
    question: Annotated[str, typer.Option("--question", "-q", help="What to ask about it.", show_default=False)],
    at: Annotated[
        str | None, typer.Option(help="The moment, e.g. 1:23; one picture, or more with --for.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, help="Seconds to look on from there.", show_default=False)
    ] = None,
    span: Annotated[str | None, typer.Option(help="Instead of --at: 1:15-1:40.", show_default=False)] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", "-m", help="How visual tokens are spent, e.g. divprune:keep=0.25, :tokens=64 or none."
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Pictures a second; by default 2, and fewer of long spans.", show_default=False),
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Part of the picture: x0,y0,x1,y1 in fractions, e.g. 0.5,0,1,0.5.")
    ] = None,
    short_side: Annotated[int, typer.Option(help="Pixels of the shorter side.")] = 480,
    heatmap: Annotated[
        Path | None, typer.Option(help="Write a PNG with the patches that the model saw.", show_default=False)
    ] = None,
    profile: _options.Profile = None,
    json: _options.Json = False,
) -> None:
    """Ask the vision-language model about a moment or a span; nothing is indexed.

    Prints the answer and what it cost: visual tokens before and after compression, prefill work and cache against the
    same look without compression, and the time of each stage.
    """
    from api.look_view import LookView, save_heatmap
    from api.session import open_session
    from api.show import err, out, print_json
    from configs import home_dir, load_profile
    from tools.errors import BadInput

    where = _where(at, seconds, span)
    part = _region(region) if region is not None else None
    if not question.strip():
        raise BadInput("the question is empty", remedy="ask something", field="--question")
    if heatmap is not None and not heatmap.absolute().parent.is_dir():
        raise BadInput(f"there is no folder '{heatmap.parent}'", remedy="make it first", field="--heatmap")
    with open_session(load_profile(profile), home_dir()) as session:
        found = session.find(video)
        view = _view(found.id, where, fps, part, short_side)
        console = err()
        pictures = PICTURES if heatmap is not None else 0
        if console.is_terminal:
            with console.status("looking"):
                seen = session.look(view, question, method, pictures)
        else:
            seen = session.look(view, question, method, pictures)
    if heatmap is not None:
        save_heatmap(heatmap, seen, question, found.name)
    if json:
        data = seen.model_dump(mode="json", exclude={"frames", "heat"})
        best = seen.evidence[0] if seen.evidence else None
        print_json(
            {
                "video": found.model_dump(mode="json"),
                "view": view.model_dump(mode="json"),
                "answer": best.text if best else "",
                "confidence": best.score if best else 0.0,
                "tokens_in": seen.cost.visual_tokens_in,
                "tokens_kept": seen.cost.visual_tokens_kept,
                **data,
                "heatmap": str(heatmap) if heatmap is not None else None,
            }
        )
    else:
        out().print(LookView(seen, found.name, view))
        if heatmap is not None:
            out().print(f"[dim]heat map written to {heatmap}[/dim]")


def _where(at: str | None, seconds: float | None, span: str | None) -> "Span":
    from tools.errors import BadInput
    from tools.media.span import Span, parse_time

    if (at is None) == (span is None):
        raise BadInput(
            "a look needs a moment or a span" if at is None else "a look has either a moment or a span",
            remedy="give --at 1:23, --at 1:23 --for 8, or --span 1:15-1:40",
            field="--at",
        )
    if at is not None:
        start = parse_time(at)
        return Span.of(start, start + (seconds or 0.0))
    if seconds is not None:
        raise BadInput("--for goes with --at", remedy="leave it out, for the span says how long", field="--for")
    assert span is not None
    return Span.parse(span)


def _region(text: str) -> "Region":
    from pydantic import ValidationError

    from tools.errors import BadInput
    from tools.media.view import Region

    remedy = "write x0,y0,x1,y1 in fractions of the picture, e.g. 0.5,0,1,0.5 for its upper right quarter"
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
        return Region(x0=x0, y0=y0, x1=x1, y1=y1)
    except (ValueError, ValidationError) as error:
        raise BadInput(f"'{text}' is no part of a picture", remedy=remedy, field="--region") from error


def _view(video_id: str, where: "Span", fps: float | None, region: "Region | None", short_side: int) -> "View":
    from pydantic import ValidationError

    from tools.errors import BadInput
    from tools.media.view import View

    rate = fps if fps is not None else min(FPS, PICTURES / max(where.duration, PICTURES / FPS))
    try:
        return View(video_id=video_id, span=where, fps=rate, region=region, short_side=short_side)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise BadInput(
            f"--{name} {first['input']} cannot be used", remedy=first["msg"].lower(), field=f"--{name}"
        ) from error
