"""loupe demo: the whole service once, from a video to cited answers."""

from pathlib import Path
from typing import Annotated

import typer

from api.commands import _options


def command(
    video: Annotated[
        Path | None, typer.Argument(metavar="[VIDEO]", help="Your own file; without one a demo video is made.")
    ] = None,
    question: Annotated[str | None, typer.Argument(metavar="[QUESTION]", help="What to ask about your file.")] = None,
    profile: _options.Profile = None,
    json: _options.Json = False,
) -> None:
    """Start the service on Ray Serve, index a video, ask over HTTP, stop the service.

    Without a file it makes a five-minute video and asks four questions: one answered by speech, one by on-screen text,
    one that needs two steps, and one about things so small that only zooming tells. The exit status is 1 where an
    answer does not agree with the script of the video.
    """
    from api.demo import run
    from api.show import err, out, print_json

    asked = run(err() if json else out(), video, question, profile)
    if json:
        print_json(
            [{"question": one.question, "right": one.right, **one.answer.model_dump(mode="json")} for one in asked]
        )
    if any(one.right is False for one in asked):
        raise typer.Exit(1)
