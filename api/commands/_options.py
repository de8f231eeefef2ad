"""Options that several verbs share."""

from typing import Annotated

import typer

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", "-p", help="Name of a profile, or a YAML file.", envvar="LOUPE_PROFILE", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
