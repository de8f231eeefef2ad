"""loupe batch: a whole archive of videos, on Ray."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.commands import _options

if TYPE_CHECKING:
    from cluster.archive import Item

#: Files that a folder is searched for.
SUFFIXES = frozenset(
    {".avi", ".flac", ".flv", ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".mpeg", ".mpg", ".ogg", ".ogv", ".opus"}
    | {".ts", ".wav", ".webm", ".wmv"}
)


def command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or folders to go through.")],
    question: Annotated[
        str | None, typer.Option("--question", "-q", help="Ask this about every video, after indexing it.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Where results are kept, a JSON line each; LOUPE_HOME/batch.jsonl by default.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Videos under way at a time.")] = 4,
    profile: _options.Profile = None,
    json: _options.Json = False,
) -> None:
    """Index an archive of videos, or ask all of them one question, every tool a Ray Serve deployment.

    A file that fails does not stop the others. Interrupted and started again it goes on with what is left, failed files
    included. Joins the Ray cluster that RAY_ADDRESS names, or starts Ray on this machine.
    """
    from functools import partial

    from agents.question import Question
    from api.client import running
    from api.show import err, out, print_json
    from cluster.app import Cluster, specs_of
    from cluster.archive import Manifest, sweep, work
    from configs import home_dir, load_profile
    from tools.errors import StoreError

    settings, home = load_profile(profile), home_dir()
    asked = Question.parse({"text": question}) if question is not None else None
    files = [str(path) for path in _files(paths)]
    results = Manifest(manifest or home / "batch.jsonl")
    task = "index" if asked is None else f"ask {asked.text}"
    known = results.done(task)
    if set(files) - known:
        if (other := running(home)) is not None:
            raise StoreError(
                f"a service at {other.url} holds {home}",
                remedy="stop it first, or set LOUPE_HOME to another folder",
                field="LOUPE_HOME",
            )
        home.mkdir(parents=True, exist_ok=True)
        cluster = Cluster(specs_of(settings, home.absolute()))
        with err().status("starting Ray"):
            transport = cluster.start()
        try:
            one = partial(work, settings, home.absolute(), transport, asked)
            for item in sweep(files, results, one, task=task, parallel=parallel):
                if not json:
                    out().print(_line(item), soft_wrap=True)
        finally:
            with err().status("stopping"):
                cluster.stop()
    items = {item.path: item for item in results.items() if item.task == task and item.path in set(files)}
    failed = sum(item.status == "failed" for item in items.values())
    if json:
        print_json([items[file].model_dump(mode="json") for file in files if file in items])
    else:
        before = len(known & set(files))
        text = f"{len(items) - failed - before} done, {before} done before, {failed} failed"
        err().print(f"{text} · results in {results.path}", soft_wrap=True)
    if failed:
        raise typer.Exit(2)


def _files(paths: list[Path]) -> list[Path]:
    """The files that are named, and the media files in the folders that are, once each and in order."""
    from tools.errors import NotFound

    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise NotFound(f"there is no file or folder '{path}'", remedy="check the path", field="PATH")
    if not found:
        raise NotFound("there are no media files in there", remedy="name a folder with videos", field="PATH")
    return list(dict.fromkeys(path.absolute() for path in found))


def _line(item: "Item") -> Any:
    from rich.text import Text

    name = Text(Path(item.path).name, style="bold")
    if item.error is not None:
        return name.append(": ", "not bold").append(item.error, "red not bold")
    result = item.result or {}
    if "answer" in result:
        said = f": {result['answer']}  [{result['verdict'].replace('_', ' ')}]"
    else:
        clips = ", ".join(f"{count} {kind}" for kind, count in result["clips"].items()) or "nothing found"
        said = f": {clips}, {result['realtime']:.1f}x real time" if result["realtime"] else ": indexed already"
    return name.append(said, "not bold")
