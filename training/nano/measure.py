"""How good an exported checkpoint is, measured through the tools that use it: ``tools.vlm`` and ``tools.embed``."""

import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from evals.league.questions import says
from evals.synth.scenes import Sample, Scale, Scenes, Split, Turn
from tools.embed.backends.visual.clip import Clip
from tools.errors import LoupeError
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.confidence import confidence
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.loading import load_host
from tools.vlm.method import Method, Stage
from training.nano.config import Kind

#: Samples that are drawn at most to find enough questions of every family.
_PATIENCE = 20
#: The longest answer that is waited for.
_LONGEST = 16
#: Questions that are answered in one batch.
_TOGETHER = 16
_BINS = 15
#: Where a temperature is looked for, and how many are tried.
_COLDEST, _WARMEST, _TRIES = 0.25, 4.0, 81


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


def answer(engine: Engine, asked: Sequence[Question]) -> Iterator[Answered]:
    """Asks the engine, several questions in a batch."""
    for question, result in zip(asked, _results(engine, [_request(question) for question in asked]), strict=True):
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
    log loss on ``asked``. Answers do not depend on it and are found once."""
    listeners = [_Listener() for _ in asked]
    requests = [_request(q, Compression((listener,))) for q, listener in zip(asked, listeners, strict=True)]
    results = list(_results(engine, requests))
    right = [says(result.text, question.turn.answer) for question, result in zip(asked, results, strict=True)]

    def loss(warmth: float) -> float:
        sure = [
            listener.confidence(engine, question.turn.question, result, warmth)
            for question, listener, result in zip(asked, listeners, results, strict=True)
        ]
        return statistics.fmean(map(_surprise, right, sure))

    tried = np.geomspace(_COLDEST, _WARMEST, _TRIES)
    return round(float(tried[np.argmin([loss(float(warmth)) for warmth in tried])]), 3)


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


@dataclass(frozen=True, kw_only=True)
class _Listener(Method):
    """Keeps what one request might have said at every step, and changes nothing."""

    stage: ClassVar[Stage] = "decode"
    logits: list[Tensor] = field(default_factory=list, compare=False)

    def decode(self, logits: Tensor, branch: Tensor | None, context: Context) -> Tensor:  # noqa: ARG002
        self.logits.append(logits.float())
        return logits

    def confidence(self, engine: Engine, question: str, result: Result, warmth: float) -> float:
        """How sure the engine would have been if its host had another temperature."""
        logs = [(logits / warmth).log_softmax(-1) for logits in self.logits]
        # The token that ends an answer counts only if there is no other.
        said = result.ids or (int(logs[0].argmax()),)
        chances = [float(log[token].exp()) for log, token in zip(logs, said, strict=False)]
        return confidence(engine.host, question, result.text, chances, logs[0])


def _request(question: Question, compression: Compression = Compression.NONE) -> Request:
    return Request(frames(question.sample), question.turn.question, compression, max_new_tokens=_LONGEST)


def _results(engine: Engine, requests: Sequence[Request]) -> Iterator[Result]:
    for start in range(0, len(requests), _TOGETHER):
        for result in engine.run(requests[start : start + _TOGETHER]):
            if isinstance(result, LoupeError):
                raise result
            yield result


def _surprise(right: bool, sure: float) -> float:
    sure = min(max(sure, 1e-6), 1 - 1e-6)
    return -math.log(sure if right else 1 - sure)
