"""Archives: many videos indexed, or asked one question, by a Ray job that survives bad files and interruptions."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import ray
from pydantic import BaseModel, ConfigDict, ValidationError

from agents.question import Question
from configs import Profile
from tools.errors import LoupeError
from tools.evidence import Scope
from tools.transport import Transport

#: What Ray reserves for one item: it waits for tools most of the time.
ITEM_CPUS = 0.1


class Item(BaseModel):
    """One line of the manifest: what became of one video.

    Attributes:
        path: as it was given.
        result: the index report, or the answer.
        error: why it failed, a sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    task: str
    status: Literal["done", "failed"]
    result: dict[str, Any] | None = None
    error: str | None = None
    seconds: float


class Manifest:
    """What is done, a JSON line an item, written as it happens. Of several lines about one item the last one counts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def items(self) -> list[Item]:
        """The latest state of every item; a torn line, as a crash leaves it, is left out."""
        latest: dict[tuple[str, str], Item] = {}
        for line in self.path.read_text("utf-8").splitlines() if self.path.is_file() else ():
            try:
                item = Item.model_validate_json(line)
            except ValidationError:
                continue
            latest[item.path, item.task] = item
        return list(latest.values())

    def done(self, task: str) -> set[str]:
        """Paths that need no second run."""
        return {item.path for item in self.items() if item.status == "done" and item.task == task}

    def append(self, item: Item) -> None:
        """Adds a line and hands it to the kernel at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            torn = end > 0 and file.read(1) != b"\n"
            file.write((b"\n" if torn else b"") + item.model_dump_json().encode() + b"\n")


def work(profile: Profile, home: Path, transport: Transport, question: Question | None, path: str) -> dict[str, Any]:
    """Indexes one video and, with a question, asks it; bound up to ``question`` it is what `sweep` runs."""
    from agents.loupe import Loupe

    async def run() -> dict[str, Any]:
        loupe = Loupe.open(profile, home, transport)
        report = await loupe.index(path)
        if question is None:
            return report.model_dump(mode="json")
        scope = Scope(video_ids=(report.video.id,), span=question.scope.span, kinds=question.scope.kinds)
        answer = await loupe.ask(question.model_copy(update={"scope": scope}))
        return answer.model_dump(mode="json")

    return asyncio.run(run())


def sweep(
    paths: Sequence[str],
    manifest: Manifest,
    run: Callable[[str], dict[str, Any]],
    *,
    task: str = "index",
    parallel: int = 4,
    num_cpus: float = ITEM_CPUS,
) -> Iterator[Item]:
    """Runs every item that is not done yet as a Ray task of its own and yields what became of it, as it ends.

    An item that fails, even one that takes its process with it, is noted and spoils no other. Interrupted and started
    again with the same manifest, it goes on with what is left; failed items are tried again.

    Args:
        run: does one item; must pickle.
        task: distinguishes sweeps that share a manifest.
        parallel: items under way at a time.
    """
    known = manifest.done(task)
    waiting = iter([path for path in dict.fromkeys(paths) if path not in known])
    remote = ray.remote(num_cpus=num_cpus, max_retries=1)(_isolated)
    under_way: dict[Any, tuple[str, float]] = {}
    try:
        while True:
            for path in _take(waiting, parallel - len(under_way)):
                under_way[remote.remote(run, path)] = (path, time.monotonic())
            if not under_way:
                return
            ended, _ = ray.wait(list(under_way), num_returns=1)
            for ref in ended:
                path, begun = under_way.pop(ref)
                result, error = _outcome(ref)
                status: Literal["done", "failed"] = "failed" if error else "done"
                seconds = round(time.monotonic() - begun, 3)
                item = Item(path=path, task=task, status=status, result=result, error=error, seconds=seconds)
                manifest.append(item)
                yield item
    finally:
        for ref in under_way:
            ray.cancel(ref)


def _isolated(run: Callable[[str], dict[str, Any]], path: str) -> tuple[dict[str, Any] | None, str | None]:
    try:
        return run(path), None
    except LoupeError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001 - one bad item must not end the sweep
        return None, f"{type(error).__name__}: {error}"


def _outcome(ref: Any) -> tuple[dict[str, Any] | None, str | None]:
    try:
        outcome: tuple[dict[str, Any] | None, str | None] = ray.get(ref)
    except ray.exceptions.RayError as error:
        return None, f"the process that worked on it is gone ({type(error).__name__})"
    return outcome


def _take(items: Iterable[str], count: int) -> list[str]:
    return [item for _, item in zip(range(max(0, count)), items, strict=False)]
