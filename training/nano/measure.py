"""How good an exported checkpoint is, measured through the tools that use it: ``tools.vlm`` and ``tools.embed``."""

import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evals.league.questions import says
from evals.synth.scenes import Sample, Scale, Scenes, Split, Turn
from tools.embed.backends.visual.clip import Clip
from tools.errors import LoupeError
from tools.media.frames import Frames
from tools.vlm.engine import Engine, Request
from tools.vlm.loading import load_host
from training.nano.config import Kind

#: Samples that are drawn at most to find enough questions of every family.
_PATIENCE = 20
#: The longest answer that is waited for.
_LONGEST = 16
_BINS = 15
#: Where a temperature is looked for, and how often.
_COLDEST, _WARMEST, _TRIES = 0.25, 4.0, 10


@dataclass(frozen=True)
class Question:
    """One question about one drawn sample."""

    kind: Kind
    sample: Sample
    turn: Turn


@dataclass(frozen=True)
class Answered:
    """How a question was answered: whether to the letter, and how sure the engine was."""

    question: Question
    right: bool
    confidence: float


def questions(split: Split, kind: Kind, scale: Scale, each: int, *, seed: int = 0) -> list[Question]:
    """``each`` questions of every family that such samples are asked about, fewer of a rare one."""
    scenes = Scenes(split, seed)
    found: dict[str, list[Question]] = defaultdict(list)
    for index in range(each * _PATIENCE):
        make = scenes.picture if kind == "picture" else scenes.clip
        sample = make(index, turns=8, scale=scale)
        for turn in sample.turns:
            if len(found[turn.family]) < each:
                found[turn.family].append(Question(kind, sample, turn))
        # A family that turned up in the first samples turns up again; one that did not is not waited for.
        if index >= each and all(len(some) == each for some in found.values()):
            break
    return [question for family in sorted(found) for question in found[family]]


def answer(engine: Engine, asked: Sequence[Question], *, together: int = 16) -> Iterator[Answered]:
    """Asks the engine, several questions in a batch."""
    for start in range(0, len(asked), together):
        part = asked[start : start + together]
        results = engine.run([Request(frames(q.sample), q.turn.question, max_new_tokens=_LONGEST) for q in part])
        for question, result in zip(part, results, strict=True):
            if isinstance(result, LoupeError):
                raise result
            yield Answered(question, says(result.text, question.turn.answer), result.confidence)


def frames(sample: Sample) -> Frames:
    """A sample's pictures as the tools pass them around."""
    return Frames(sample.times, sample.frames, 0)


def accuracy(answered: Iterable[Answered]) -> dict[str, dict[str, tuple[int, int]]]:
    """Right answers and questions, by kind and scale and then by family."""
    table: dict[str, dict[str, list[int]]] = {}
    for item in answered:
        turn = item.question.turn
        row = table.setdefault(f"{item.question.kind} {turn.scale}", {}).setdefault(turn.family, [0, 0])
        row[0] += item.right
        row[1] += 1
    return {key: {name: (cell[0], cell[1]) for name, cell in sorted(row.items())} for key, row in sorted(table.items())}


def pairs(engine: Engine, pictures: int, *, seed: int = 0) -> dict[str, dict[str, tuple[int, int]]]:
    """Right answers and questions about things in held-out pictures, by whether training shows such pairs of colour and
    shape (``known``) or never does (``new``), and then by what is asked of them."""
    scenes = Scenes("test", seed)
    samples = [scenes.pairs(index) for index in range(pictures)]
    asked = [Question("picture", sample, turn) for sample in samples for turn in sample.turns]
    answered = list(answer(engine, asked))
    return {
        name: accuracy(item for item in answered if item.question.turn.new is new).get("picture near", {})
        for name, new in (("known", False), ("new", True))
    }


def prior(asked: Sequence[Question], *, seen: int = 1000, seed: int = 0) -> dict[str, dict[str, tuple[int, int]]]:
    """The accuracy of whoever has read the training questions and never looks: the commonest answer to the same
    question, else of its family."""
    scenes = Scenes("train", seed)
    by_question: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    by_family: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for kind in {question.kind for question in asked}:
        make = scenes.picture if kind == "picture" else scenes.clip
        for index in range(seen):
            for turn in make(index, turns=8).turns:
                by_question[kind, turn.question][turn.answer] += 1
                by_family[kind, turn.family][turn.answer] += 1
    answered = []
    for question in asked:
        kind, turn = question.kind, question.turn
        known = by_question.get((kind, turn.question)) or by_family[kind, turn.family]
        guess = known.most_common(1)[0][0] if known else ""
        answered.append(Answered(question, says(guess, turn.answer), 0.0))
    return accuracy(answered)


def calibration_error(answered: Sequence[Answered]) -> float:
    """Expected calibration error (Guo et al., arXiv:1706.04599) in bins of equal width."""
    confidence = np.array([item.confidence for item in answered])
    right = np.array([item.right for item in answered], dtype=float)
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(right[place == bin_].mean() - confidence[place == bin_].mean())) * int((place == bin_).sum())
        for bin_ in np.unique(place)
    ]
    return sum(gaps) / len(answered)


def temperature(engine: Engine, asked: Sequence[Question]) -> float:
    """What the logits are to be divided by so that the engine's own confidence fits how often it is right: the least
    log loss on ``asked``, by golden section over its logarithm. Answers do not depend on it."""
    before = engine.host.temperature

    def loss(log: float) -> float:
        engine.host.temperature = math.exp(log)
        logs = [_surprise(item) for item in answer(engine, asked)]
        return statistics.fmean(logs)

    low, high, ratio = math.log(_COLDEST), math.log(_WARMEST), (math.sqrt(5) - 1) / 2
    try:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        at_left, at_right = loss(left), loss(right)
        for _ in range(_TRIES - 2):
            if at_left <= at_right:
                high, right, at_right = right, left, at_left
                left = high - ratio * (high - low)
                at_left = loss(left)
            else:
                low, left, at_left = left, right, at_right
                right = low + ratio * (high - low)
                at_right = loss(right)
    finally:
        engine.host.temperature = before
    return round(math.exp((low + high) / 2), 3)


def recall(folder: Path, clips: int, *, best: int = 5, seed: int = 0) -> tuple[int, int]:
    """Of ``clips`` held-out clips, how many are among the ``best`` found by their caption, and how many there are."""
    search, scenes = Clip(str(folder)), Scenes("test", seed)
    samples = [scenes.clip(index) for index in range(clips)]
    pictures = search.embed_images(np.concatenate([sample.frames for sample in samples]))
    vectors = pictures.reshape(clips, -1, pictures.shape[-1]).mean(1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    products = search.embed_texts([sample.caption for sample in samples]) @ vectors.T
    own = products.diagonal()[:, None]
    return int(((products > own).sum(1) < best).sum()), clips


def cost(folder: Path) -> dict[str, float]:
    """Seconds to load and to look at eight frames, and bytes on disk."""
    begun = time.perf_counter()
    engine = Engine(load_host(folder))
    loading = time.perf_counter() - begun
    sample = Scenes("test").clip(0)
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        engine.look(frames(sample), sample.turns[0].question, max_new_tokens=_LONGEST)
        taken.append(time.perf_counter() - begun)
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    return {"load_seconds": loading, "look_seconds": statistics.median(taken), "bytes": size}


def examine(folder: Path, each: int, clips: int, *, kinds: Sequence[Kind] = ("picture", "clip")) -> dict[str, Any]:
    """All figures of the model card, on the test split."""
    engine = Engine(load_host(folder))
    asked = [q for kind in kinds for scale in ("near", "far") for q in questions("test", kind, scale, each)]
    answered = list(answer(engine, asked))
    near = [item for item in answered if item.question.turn.scale == "near"]
    found: dict[str, Any] = {
        "host": engine.host.name,
        "accuracy": accuracy(answered),
        "prior": prior(asked, seen=5 * each),
        "pairs": pairs(engine, each) if "picture" in kinds else {},
        "calibration_error": {"near": calibration_error(near), "all": calibration_error(answered)},
        "temperature": engine.host.temperature,
        "cost": cost(folder),
    }
    if (folder / "search").is_dir():
        found["recall_at_5"] = recall(folder / "search", clips)
    return found


def _surprise(item: Answered) -> float:
    sure = min(max(item.confidence, 1e-6), 1 - 1e-6)
    return -math.log(sure if item.right else 1 - sure)
