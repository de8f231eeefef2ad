"""loupe index: make videos searchable."""

from typing import Annotated

import typer

from api.commands import _options


def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Video files, or ids of registered videos.")],
    profile: _options.Profile = None,
    json: _options.Json = False,
) -> None:
    """Make videos searchable.

    Interrupted, it keeps what is done; a second run goes on from there. A file that fails does not stop the others.
    """
    from api.session import open_session
    from api.show import err, out, print_json, progress
    from configs import home_dir, load_profile
    from tools.errors import LoupeError
    from tools.media.span import format_time

    reports = []
    failed: list[LoupeError] = []
    with open_session(load_profile(profile), home_dir()) as session:
        for file in files:
            try:
                video = session.find(file)
                with progress(video.name) as log:
                    report = session.index(video, log)
            except LoupeError as error:
                failed.append(error)
                err().print(f"[red]{file}[/red]: {error}")
                continue
            reports.append({"video": video.model_dump(mode="json"), **report})
            if json:
                continue
            clips = ", ".join(f"{count} {kind}" for kind, count in report["clips"].items()) or "nothing new"
            rate = f", {report['realtime']:.1f}x real time" if report["realtime"] else ""
            head = f"[bold]{video.name}[/bold]  [dim]{video.id[:12]}[/dim]  {format_time(video.info.duration)}"
            out().print(f"{head}: {clips}{rate}")
            for note in report["notes"]:
                out().print(f"  [yellow]note: {note}[/yellow]")
    if json:
        print_json(reports)
    if failed:
        raise typer.Exit(failed[0].exit_code)
