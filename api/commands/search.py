"""loupe search: what the index holds, without an agent."""

from typing import Annotated

import typer

from api.commands import _options


def command(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words; empty for everything in order of time.")],
    video: Annotated[list[str] | None, typer.Option("--video", help="Only in this file or id.")] = None,
    span: Annotated[str | None, typer.Option(help="Only between these times, e.g. 1:15-2:40.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only speech, text, object or visual.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 10,
    profile: _options.Profile = None,
    json: _options.Json = False,
) -> None:
    """Search the index by meaning and by exact words."""
    from api.session import open_session
    from api.show import err, evidence_table, out, print_json
    from configs import home_dir, load_profile
    from tools.errors import BadInput, did_you_mean
    from tools.evidence import KINDS, Scope
    from tools.media.span import Span

    for one in kind or ():
        if one not in KINDS:
            raise BadInput(f"there is no kind '{one}'", remedy=did_you_mean(one, KINDS), field="--kind")
    with open_session(load_profile(profile), home_dir()) as session:
        scope = Scope.model_validate(
            {
                "video_ids": tuple(session.find(one).id for one in video or ()),
                "span": Span.parse(span) if span else None,
                "kinds": tuple(kind or ()),
            }
        )
        found = session.search(query, scope, limit)
        names = {one.id: one.name for one in session.videos()}
    if json:
        print_json([one.model_dump(mode="json") for one in found])
    elif found:
        out().print(evidence_table(found, names))
    else:
        err().print("nothing found")
