"""loupe bench: how fast it is on this machine."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.commands import _options

if TYPE_CHECKING:
    from rich.table import Table

#: Columns from which on a table of few rows is turned on its side.
_WIDE = 10


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
        module = importlib.import_module(modules[one])
        rows = _collect(module.run(out_dir), out_dir / f"{one}.unfinished.jsonl")
        results[one] = {"name": one, "machine": describe(), "seconds": round(time.time() - begun, 1), "rows": rows}
        (out_dir / f"{one}.json").write_text(codec.dumps(results[one], indent=2) + "\n")
        if json:
            continue
        out().print(_table(one, rows, getattr(module, "SHOWN", ())))
        out().print(f"[dim]written to {out_dir / f'{one}.json'}[/dim]")
    if json:
        print_json(list(results.values()))


def _collect(rows: Iterable[dict[str, Any]], under_way: Path) -> list[dict[str, Any]]:
    """All rows; a run that ends before the last leaves those that it has in ``under_way``."""
    import json

    from api.show import err

    found = []
    under_way.parent.mkdir(parents=True, exist_ok=True)
    try:
        with under_way.open("w", encoding="utf-8") as lines:
            for row in rows:
                lines.write(json.dumps(row) + "\n")
                lines.flush()
                found.append(row)
    except BaseException:
        if found:
            err().print(f"rows so far: {len(found)}, in {under_way}")
        else:
            under_way.unlink()
        raise
    under_way.unlink()
    return found


def _table(name: str, rows: list[dict[str, Any]], shown: Sequence[str] = ()) -> "Table":
    """The columns ``shown``, all by default; where a few rows have many columns, side by side."""
    from rich.table import Table

    # What has parts of its own is for the file.
    there = dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, dict))
    columns = [key for key in shown or there if key in there]
    lines = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    heads = [column.replace("_", " ") for column in columns]
    left = [any(isinstance(row.get(column), str) for row in rows) for column in columns]
    if len(columns) > _WIDE and len(rows) < len(columns) / 2:
        lines = [list(line) for line in zip(heads, *lines, strict=True)]
        heads, left = [name, *("" for _ in rows)], [True]
    table = Table(title=name, title_justify="left", show_header=any(heads[1:]))
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < len(left) and left[place] else "right")
    for line in lines:
        table.add_row(*line)
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
