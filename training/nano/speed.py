"""How fast each stage goes on this machine, before hours are spent on it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from training.nano.config import Recipe
from training.nano.loop import Row, Training

#: Steps that are not counted: the first ones wait for the drawing processes and allocate memory.
_WARM = 2


def speeds(
    recipe: Recipe, out: Path, seconds: float, *, device: str = "auto", processes: int = 1, fused: bool = False
) -> Iterator[Row]:
    """A row for each kind of batch of each stage, trained on its own for ``seconds``."""
    for stage in recipe.stages:
        for mix in stage.mixes:
            alone = replace(
                recipe,
                stages=(replace(stage, mixes=(mix,)),),
                minutes=seconds / 60,
                steps=None,
                lines=1,
                check=0,
                check_steps=1 << 30,
                save_minutes=1e9,
            )
            lines: list[Row] = []
            Training(alone, out / "speed", device=device, processes=processes, fused=fused, tell=lines.append).run()
            steps = [line for line in lines if line["event"] == "step"][_WARM:]
            if not steps:
                yield {"stage": stage.name, "batch": f"{mix.kind} {mix.scale}", "steps": 0}
                continue
            taken = sum(line["seconds"] for line in steps)
            yield {
                "stage": stage.name,
                "batch": f"{mix.kind} {mix.scale}",
                "steps": len(steps),
                "seconds_per_step": round(taken / len(steps), 3),
                "samples_per_hour": round(sum(line["samples"] for line in steps) / taken * 3600),
                "turns_per_hour": round(sum(line["turns"] for line in steps) / taken * 3600),
                "waiting": round(sum(line["waiting"] * line["seconds"] for line in steps) / taken, 4),
                "padding": round(sum(line["padding"] for line in steps) / len(steps), 4),
            }
