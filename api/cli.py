"""The command line. Each verb is a file in `api.commands`; starting it imports none of what the verbs use."""

import importlib
import pkgutil
import sys
from collections.abc import Sequence

import typer

from api import commands
from tools.errors import LoupeError

#: Exit status after Ctrl-C.
INTERRUPTED = 130


def build() -> typer.Typer:
    """The application with every verb: a module of `api.commands` offers a function ``command`` or a group ``app``."""
    app = typer.Typer(
        name="loupe",
        help="Answers hard questions about long videos and shows the proof.",
        no_args_is_help=True,
        add_completion=False,
        # The framed help would take twice as long to import as everything else.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root() -> None:
        """Answers hard questions about long videos and shows the proof.

        LOUPE_HOME is the data directory (default ~/.loupe), LOUPE_PROFILE the profile (default embedded).
        """

    for found in sorted(pkgutil.iter_modules(commands.__path__), key=lambda module: module.name):
        if found.name.startswith("_"):
            continue
        module = importlib.import_module(f"{commands.__name__}.{found.name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=found.name)
        else:
            app.command(found.name)(module.command)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0 done, 1 unexpected, 2 bad input, 3 not found in the video, 130
    interrupted."""
    try:
        build()(args=arguments)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("loupe: interrupted; what is done is kept", file=sys.stderr)  # noqa: T201
        return end.code if isinstance(end.code, int) else 0
    except LoupeError as error:
        print(f"loupe: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run())
