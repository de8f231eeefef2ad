"""The training loop: stages, their learning rates, the log, and going on where a run was cut off."""

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from tools.errors import BadInput
from training.nano import batches, state
from training.nano.batches import Batch
from training.nano.config import Recipe, Stage
from training.nano.crew import Crew
from training.nano.feed import Feed
from training.nano.learner import Learner, Score, evaluating, multiplies_half
from training.nano.models import Models, build
from training.nano.optimizer import Optimizer
from training.nano.vocabulary import learn

#: Learning rate at a stage's end, as a part of its highest.
_FLOOR = 0.1
#: Mistakes of a kind that the log names.
_MISTAKES = 8

Row = dict[str, Any]


class Training:
    """A run in a folder: ``tokens.json``, ``state.pt`` and ``log.jsonl``.

    Args:
        out: the folder; made if it is not there.
        resume: whether to go on with what is in it; otherwise it is begun anew.
        changed: whether the recipe that is gone on with may have changed since, see `state.load`.
        begun: a folder that `pack` wrote, to go on with if there is nothing in ``out`` to go on with.
        device: ``auto`` takes a GPU if there is one.
        processes: how many share the work of a step, see `Crew`.
        fused: whether layers are compiled, see `Learner`.
        tell: called with every line of the log.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        resume: bool = False,
        changed: bool = False,
        begun: Path | None = None,
        device: str = "auto",
        processes: int = 1,
        fused: bool = False,
        tell: Callable[[Row], None] | None = None,
    ) -> None:
        self.recipe, self.out, self._tell, self._processes = recipe, out, tell, processes
        out.mkdir(parents=True, exist_ok=True)
        self._state, self._log = out / "state.pt", out / "log.jsonl"
        resume = resume and self._state.is_file()
        if resume:
            _mend(self._log)
        else:
            for path in (self._state, self._log, self.tokens):
                path.unlink(missing_ok=True)
            if begun is not None and (begun / self.tokens.name).is_file():
                shutil.copyfile(begun / self.tokens.name, self.tokens)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            models = build(recipe.sizes, self._vocabulary())
            self.learner = Learner(models, device, half=multiplies_half(device), fused=fused)
        self._optimizer = Optimizer(self.learner.parts, recipe.decay)
        self._average = state.Average(self.learner.parts, recipe.ema)
        self.progress = state.Progress()
        if resume:
            self.progress = state.load(
                self._state, recipe, self.learner.parts, self._optimizer, self._average, changed=changed
            )
        elif begun is not None:
            self.progress = state.unpack(begun, recipe, self.learner.parts, self._average)
        if resume or begun is not None:
            self._write({"event": "resume", **vars(self.progress)})

    @property
    def models(self) -> Models:
        """What is trained."""
        return self.learner.models

    @property
    def tokens(self) -> Path:
        """The tokenizer's file."""
        return self.out / "tokens.json"

    def run(self, *, stop_after: int | None = None) -> None:
        """Trains all stages that are left; the state is written every few minutes and at the end of each.

        Args:
            stop_after: end, as a kill would, after this many steps of all stages together.
        """
        with (
            closing(Feed(self.tokens, self.recipe.workers, self.recipe.ahead)) as feed,
            closing(Crew(self.learner, self.recipe.sizes, self.tokens, self._processes)) as crew,
        ):
            while self.progress.stage < len(self.recipe.stages):
                stage = self.recipe.stages[self.progress.stage]
                if self.progress.step == 0:
                    self._average.begin()
                if not self._stage(stage, feed, crew, stop_after):
                    return
                if stage.blend > 0:
                    self._average.blend(stage.blend)
                self._note("validation", stage, **self.check(stage, feed))
                self.progress = self.progress.next_stage()
                self._save()

    def pack(self, folder: Path) -> None:
        """Writes what another machine needs to go on, see `state.pack`; it takes it as ``begun``.

        Raises:
            BadInput: if all stages are done.
        """
        if self.progress.stage == len(self.recipe.stages):
            raise BadInput("this run is at its end", remedy="its checkpoint is in the run's folder", field="pack")
        state.pack(folder, self.recipe, self.progress, self.learner.parts, self._average)
        shutil.copyfile(self.tokens, folder / self.tokens.name)

    def averaged(self) -> Any:
        """A context in which the models hold the running mean of their parameters, which is what is exported."""
        return self._average.applied()

    def check(self, stage: Stage, feed: Feed) -> Row:
        """Accuracy on the validation split by family, near and far apart, and the commonest mistakes: a family of which
        one answer is never given has a mean that looks well."""
        scores: dict[str, Score] = {}
        jobs = batches.checks(stage, self.recipe.check, self.recipe.seed)
        with self.averaged(), evaluating(self.learner.parts), closing(feed.batches(jobs)) as found:
            for batch in found:
                key = f"{batch.mix.kind} {batch.mix.scale}"
                scores.setdefault(key, Score(Counter(), Counter(), Counter())).update(self.learner.score(batch))
        return {
            "accuracy": {
                key: {family: [score.right[family], score.asked[family]] for family in sorted(score.asked)}
                for key, score in sorted(scores.items())
            },
            "mistakes": {
                key: [[*mistake, count] for mistake, count in score.mistakes.most_common(_MISTAKES)]
                for key, score in sorted(scores.items())
            },
        }

    # One stage.

    def _stage(self, stage: Stage, feed: Feed, crew: Crew, stop_after: int | None) -> bool:
        """Trains a stage from where it stands; False if it was stopped before its end."""
        group, begin = divmod(self.progress.step, batches.TOGETHER)
        jobs = batches.jobs(stage, self.recipe.seed, group)
        saved = begun = time.monotonic()
        meter = _Meter()
        with closing(feed.batches(jobs)) as found:
            while (part := self._part(stage)) < 1:
                waited = time.monotonic()
                batch = next(found)
                if begin > 0:
                    begin -= 1
                    continue
                meter.waiting += time.monotonic() - waited
                rate = _rate(stage, part)
                losses, norm = self._step(stage, batch, rate, crew)
                self.progress.step += 1
                now = time.monotonic()
                self.progress.seconds, begun = self.progress.seconds + now - begun, now
                meter.add(batch, losses, norm)
                if self.progress.step % self.recipe.lines == 0:
                    self._note("step", stage, rate=rate, **meter.read())
                    meter = _Meter()
                if stop_after is not None and self.progress.steps >= stop_after:
                    return False
                if self.progress.step % self.recipe.check_steps == 0:
                    self._note("validation", stage, **self.check(stage, feed))
                    meter = _Meter()
                if now - saved > self.recipe.save_minutes * 60:
                    self._save()
                    saved = now
        return True

    def _step(self, stage: Stage, batch: Batch, rate: float, crew: Crew) -> tuple[Mapping[str, float], float]:
        self._optimizer.rate(rate, stage.tower)
        self.learner.hold_tower(stage.tower == 0)
        self._optimizer.zero_grad()
        losses = crew.learn(batch, stage)
        norm = torch.nn.utils.clip_grad_norm_(self.learner.parts.parameters(), self.recipe.clip)
        # Those that shared the work wait meanwhile, and Muon multiplies as much as half a pass over a batch.
        with _threads(self._processes):
            self._optimizer.step()
        self._average.update(self.progress.steps)
        return losses, float(norm)

    def _part(self, stage: Stage) -> float:
        """How much of the stage is done, 0..1."""
        share = stage.share / sum(other.share for other in self.recipe.stages)
        if self.recipe.steps is not None:
            return self.progress.step / max(1, round(self.recipe.steps * share))
        assert self.recipe.minutes is not None
        return self.progress.seconds / (self.recipe.minutes * 60 * share)

    # Files.

    def _vocabulary(self) -> Tokenizer:
        """The tokenizer, learnt once for a folder."""
        if self.tokens.is_file():
            return Tokenizer.from_file(str(self.tokens))
        sizes = self.recipe.sizes
        tokenizer = learn(batches.sentences(sizes.samples, self.recipe.seed), sizes.vocabulary)
        tokenizer.save(str(self.tokens))
        return tokenizer

    def _save(self) -> None:
        state.save(self._state, self.recipe, self.progress, self.learner.parts, self._optimizer, self._average)

    def _note(self, event: str, stage: Stage, **more: Any) -> None:
        self._write({"event": event, "stage": stage.name, "step": self.progress.step, **more})

    def _write(self, row: Row) -> None:
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        if self._tell is not None:
            self._tell(row)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """At least ``count`` threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(before, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Meter:
    """Means and speed between two lines of the log."""

    def __init__(self) -> None:
        self.begun, self.waiting = time.monotonic(), 0.0
        self.steps = self.samples = self.turns = 0
        self.waste = 0.0
        self.norms: list[float] = []
        self.losses: dict[str, list[float]] = {}

    def add(self, batch: Batch, losses: Mapping[str, float], norm: float) -> None:
        self.steps += 1
        self.samples += len(batch)
        self.turns += sum(map(len, batch.families))
        self.waste += batch.waste
        self.norms.append(norm)
        for name, loss in losses.items():
            self.losses.setdefault(name, []).append(loss)

    def read(self) -> Row:
        seconds = time.monotonic() - self.begun
        return {
            "steps": self.steps,
            "samples": self.samples,
            "turns": self.turns,
            "seconds": round(seconds, 3),
            "loss": {name: round(_mean(values), 5) for name, values in self.losses.items()},
            "norm": round(_mean(self.norms), 4),
            "samples_per_second": round(self.samples / seconds, 2),
            "waiting": round(self.waiting / seconds, 4),
            "padding": round(self.waste / self.steps, 4),
        }


def _mend(log: Path) -> None:
    """Cuts off a line that a kill left half written."""
    if log.is_file():
        whole = log.read_bytes()
        log.write_bytes(whole[: whole.rfind(b"\n") + 1])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _rate(stage: Stage, part: float) -> float:
    """The learning rate where ``part`` of a stage is done."""
    if part < stage.warmup:
        # The first step moves a little too.
        return stage.rate * max(part / stage.warmup, 0.02)
    along = (part - stage.warmup) / (1 - stage.warmup)
    return stage.rate * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * along)) / 2)


__all__ = ["Row", "Training"]
