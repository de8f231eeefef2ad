"""Zooming: what a small model answers about needles in long films, looking evenly, once, or where the agent zooms in.

The model, the frames and the questions are the same in all rows; only how the looking is spent differs.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.loupe import Loupe
    from evals.synth.scenes.benchmark import Needle

#: Minutes and seed of each film.
FILMS: tuple[tuple[int, int], ...] = (*((1, seed) for seed in range(6)), (10, 0), (10, 1), (10, 2), (60, 0))
#: Most frames that a row looks at at once; the profile allows a look fewer.
_MOST_FRAMES = 128


@dataclass(frozen=True)
class Way:
    """One way to spend the looks: a strategy, frames where it is told how many, and options of the rules."""

    name: str
    strategy: str
    frames: int | None = None
    options: tuple[tuple[str, bool], ...] = ()


WAYS = (
    Way("uniform 8", "uniform", 8),
    Way("uniform 32", "uniform", 32),
    Way("uniform 128", "uniform", 128),
    Way("single pass", "single_pass"),
    Way("zoom", "zoom"),
    Way("zoom, not in space", "zoom", options=(("space", False),)),
    Way("zoom, not in time", "zoom", options=(("time", False),)),
)


def run(
    out_dir: Path,
    films: Sequence[tuple[int, int]] = FILMS,
    ways: Sequence[Way] = WAYS,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:
    """A row a way of looking, over all questions, as soon as it is known; films are made under ``out_dir`` and kept for
    the next run.

    Args:
        models: sections of the profile to use instead of those of "embedded", e.g. ``vlm`` and ``visual_embedding``.

    Raises:
        ProfileError: a model that cannot look at all the frames of a row.
    """
    from rich.console import Console
    from rich.progress import track

    from agents.loupe import Loupe
    from configs import load_profile
    from configs.profile import Profile

    console = Console(stderr=True)
    base = load_profile("embedded").model_dump()
    base |= {name: dict(section) for name, section in (models or {}).items()}
    base["vlm"] = {**base["vlm"], "max_frames": _MOST_FRAMES}
    with tempfile.TemporaryDirectory() as home:
        with Loupe.open(Profile.model_validate(base), Path(home)) as loupe:
            asked = {}
            for film in track(films, "films", console=console, transient=True):
                path, needles = _film(out_dir, *film)
                asked[asyncio.run(loupe.index(str(path))).video.id] = needles
            for way in track(ways, "ways to look", console=console, transient=True):
                profile = Profile.model_validate({**base, "reasoner": {"backend": "rules", **dict(way.options)}})
                yield asyncio.run(_measure(Loupe(profile, Path(home), loupe.transport), way, asked))


async def _measure(loupe: "Loupe", way: Way, asked: "Mapping[str, Sequence[Needle]]") -> dict[str, Any]:
    from agents.question import Budget, Question
    from tools.errors import ProfileError
    from tools.evidence import Scope

    budget = Budget(frames=way.frames or Budget().frames, seconds=None, steps=16)
    right: dict[str, list[bool]] = {}
    answers = []
    started = time.perf_counter()
    for video_id, needles in asked.items():
        for needle in needles:
            question = Question(
                text=needle.question,
                options=needle.options,
                scope=Scope(video_ids=(video_id,)),
                budget=budget,
                strategy=way.strategy,
            )
            answer = await loupe.ask(question)
            if failed := [note for note in answer.notes if note.startswith("look failed")]:
                # A model that cannot take so many frames has not answered wrongly.
                raise ProfileError(
                    f"{way.name}: {failed[0]}", remedy="take a model with a longer context", field="vlm.model"
                )
            answers.append(answer)
            right.setdefault(needle.family, []).append(answer.option == needle.answer)
    seconds = time.perf_counter() - started
    every = [one for group in right.values() for one in group]
    return {
        "way": way.name,
        "questions": len(every),
        "right": sum(every),
        "accuracy": round(fmean(every), 3),
        "found": sum(answer.option is not None for answer in answers),
        "frames": _mean(answer.cost.frames_decoded for answer in answers),
        "visual_tokens": _mean(answer.cost.visual_tokens_kept for answer in answers),
        "looks": _mean(answer.cost.tool_calls.get("look", 0) for answer in answers),
        "seconds": round(seconds / len(every), 2),
        "families": {family: f"{sum(group)}/{len(group)}" for family, group in sorted(right.items())},
    }


def _mean(values: Iterable[float]) -> float:
    return round(fmean(values), 1)


def _film(out_dir: Path, minutes: int, seed: int) -> "tuple[Path, Sequence[Needle]]":
    from evals.synth.scenes.benchmark import benchmark

    path = out_dir / f"needles-{minutes}-{seed}.mp4"
    film = benchmark(minutes, seed)
    if not path.exists():
        film.write(path)
    return path, film.needles
