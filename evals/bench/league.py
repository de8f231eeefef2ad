"""The league table: what every compression method leaves of the nano models' accuracy, and what it costs.

All entries are asked the same questions about the same drawn pictures and clips. A page and a plot of the results are
written beside them, so that ``loupe bench league --out docs`` renews ``docs/league.md``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.league.entries import Entry
    from evals.league.questions import Question

#: Questions of every family.
EACH = 8
#: What the terminal shows of a row.
SHOWN = ("model", "method", "keep", "change", "accuracy", "kept", "low", "high", "share", "first_token_ms")


def run(out_dir: Path) -> Iterator[dict[str, Any]]:
    """A row for every method and budget on each of the models that come with Loupe, one model after the other.

    Raises:
        ProfileError: if none is.
    """
    from tools.errors import ProfileError
    from tools.packaged import names, packaged

    # What lies inside another model's folder is a part of it.
    folders = [Path(packaged(name)) for name in names() if "/" not in name]
    if not folders:
        raise ProfileError(
            "no model comes with this copy of Loupe, so that there is nothing to compare methods on",
            remedy="train one with `make nano` and put it into tools/packaged",
            field="model",
        )
    yield from write(folders, out_dir)


def write(
    folders: Sequence[Path], out_dir: Path, *, each: int = EACH, names: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows for the checkpoints in ``folders``; after the last, ``league.md`` and ``league.png`` are written.

    Args:
        each: questions of every family.
        names: methods that take part, all by default.
    """
    from evals.league.entries import entries
    from evals.league.page import page
    from evals.league.plot import plot
    from evals.league.questions import draw

    questions, taking_part, rows = draw(each), entries(names), []
    for folder in folders:
        found = measure(folder, questions, taking_part)
        rows += found
        yield from found
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "league.md").write_text(page(rows), encoding="utf-8")
    plot(rows).save(out_dir / "league.png", optimize=True)


def measure(folder: Path, questions: "Sequence[Question]", taking_part: "Sequence[Entry]") -> list[dict[str, Any]]:
    """The rows for one checkpoint."""
    from rich.console import Console
    from rich.progress import track

    from evals.league.attention import attention
    from evals.league.entries import fitting
    from evals.league.measure import able, clock, score
    from evals.league.standings import standings
    from tools.vlm.engine import Engine
    from tools.vlm.loading import load_host

    engine = Engine(load_host(folder))
    fitted = [fitting(entry, engine.host) for entry in taking_part]
    refused = {entry: error.message for entry in fitted if (error := able(engine, entry, questions))}
    going = [entry for entry in fitted if entry not in refused]
    console = Console(stderr=True)
    scored = {
        entry: score(engine, entry, questions)
        for entry in track(going, description=folder.name, console=console, transient=True)
    }
    taken = clock(engine, going, questions)
    looks_at = attention(engine, questions)
    return standings(folder.name, engine.host.name, questions, scored, taken, refused, looks_at)
