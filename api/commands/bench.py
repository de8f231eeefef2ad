"""loupe bench: how fast it is on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from api.commands import _options


def command(
    name: Annotated[
        str, typer.Argument(metavar="[NAME|all]", help="A benchmark; without a name they are listed.")
    ] = "",
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for results.")] = Path("out/bench"),
    json: _options.Json = False,
) -> None:
    """Run benchmarks; each result goes to a file with a description of the machine."""
    import importlib
    import json as codec
    import pkgutil
    import time

    from rich.table import Table

    from api.machine import describe
    from api.show import err, out, print_json
    from cluster import bench as of_clusters
    from evals import bench
    from tools.errors import BadInput, did_you_mean

    modules = {
        one.name: f"{package.__name__}.{one.name}"
        for package in (bench, of_clusters)
        for one in pkgutil.iter_modules(package.__path__)
        if not one.name.startswith("_")
    }
    found = sorted(modules)
    if not name:
        if json:
            print_json(found)
            return
        for one in found:
            doc = (importlib.import_module(modules[one]).__doc__ or "").strip().partition("\n")[0]
            out().print(f"[bold]{one:<12}[/bold] {doc}")
        return
    if name != "all" and name not in found:
        raise BadInput(f"there is no benchmark '{name}'", remedy=did_you_mean(name, found), field="NAME")
    results = {}
    for one in found if name == "all" else [name]:
        err().print(f"running {one}")
        begun = time.time()
        rows = importlib.import_module(modules[one]).run(out_dir)
        results[one] = {"name": one, "machine": describe(), "seconds": round(time.time() - begun, 1), "rows": rows}
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / f"{one}.json").write_text(codec.dumps(results[one], indent=2) + "\n")
        if json:
            continue
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(title=one, title_justify="left")
        for column in columns:
            table.add_column(
                column.replace("_", " "), justify="left" if isinstance(rows[0].get(column), str) else "right"
            )
        for row in rows:
            table.add_row(*(_cell(row.get(column, "")) for column in columns))
        out().print(table)
        out().print(f"[dim]written to {out_dir / f'{one}.json'}[/dim]")
    if json:
        print_json(list(results.values()))


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
