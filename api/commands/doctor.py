"""loupe doctor: what works on this machine with this profile, before a run."""

import typer

from api.commands import _options


def command(profile: _options.Profile = None, json: _options.Json = False) -> None:
    """Check the profile, its models and the data directory; the exit status is 1 where something is missing."""
    from rich.table import Table
    from rich.text import Text

    from api.checks import findings
    from api.show import out, print_json
    from configs import home_dir, load_profile

    found = findings(load_profile(profile), home_dir())
    if json:
        print_json([vars(one) for one in found])
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(ratio=1)
        for one in found:
            mark = Text("✔", style="green") if one.ok else Text("✘", style="red")
            table.add_row(mark, one.key, Text(one.message + (f": {one.remedy}." if one.remedy else "")))
        out().print(table)
    if not all(one.ok for one in found):
        raise typer.Exit(1)
