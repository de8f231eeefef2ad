"""Asks one host everything that the league asks: answers in batches, times one look after the other."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from evals.league.coverage import Coverage, Legible, coverage, legible
from evals.league.entries import FULL, Entry
from evals.league.questions import Question, says
from tools.errors import BadInput, LoupeError
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.method import Method

Shares = TypeVar("Shares", Coverage, Legible)

#: Longest answer that is waited for, and looks that are decoded together.
_LONGEST, _TOGETHER = 12, 16
#: Functions of a method that run among the decoder's layers.
_AMONG_LAYERS = ("prune", "observe", "cache", "attend", "positions")


@dataclass(frozen=True)
class Scored:
    """How one entry answered.

    Attributes:
        right: bool ``[Q]``, by question; False where it was not asked.
        asked: bool ``[Q]``.
        share: visual tokens that a decoder layer worked on, as a share of the uncompressed, mean over layers and looks.
        flops, kv_bytes: of the decoder's prefill, mean over the clips.
        coverage: what the tokens were spent on, means over the questions.
        legible: how much of what is written was seen, means over the clips.
        tokens: uncompressed visual tokens of each kind of question.
    """

    right: npt.NDArray[np.bool_]
    asked: npt.NDArray[np.bool_]
    share: float
    flops: float
    kv_bytes: float
    coverage: Coverage
    legible: Legible
    tokens: Mapping[str, int]


@dataclass(frozen=True)
class Taken:
    """Seconds, medians over looks at a clip: to the first token, and of these in the compressor."""

    first_token: float
    compressor: float


def score(engine: Engine, entry: Entry, questions: Sequence[Question]) -> Scored:
    """Asks ``entry`` the questions of its kinds.

    Raises:
        BadInput: a method or budget that does not go with the host or with a question's frames.
    """
    asked = np.array([question.kind in entry.kinds for question in questions])
    places = np.flatnonzero(asked).tolist()
    right = np.zeros(len(questions), dtype=np.bool_)
    results: dict[int, Result] = {}
    for start in range(0, len(places), _TOGETHER):
        part = places[start : start + _TOGETHER]
        requests = [
            Request(
                entry.shown(questions[at].frames), questions[at].text, entry.compression(questions[at], at), _LONGEST
            )
            for at in part
        ]
        results |= zip(part, map(_good, engine.run(requests)), strict=True)
    for at, result in results.items():
        right[at] = says(result.text, questions[at].answer)
    answered = [(questions[at], result) for at, result in results.items()]
    clips = [results[at].report for at in places if questions[at].kind == "clip"]
    shares = [float(np.mean(one.report.layers)) / one.report.tokens_in for one in results.values()]
    return Scored(
        right,
        asked,
        float(np.mean(shares)),
        float(np.mean([report.flops for report in clips])),
        float(np.mean([report.kv_bytes for report in clips])),
        _mean(Coverage, (coverage(result.provenance, q.things, q.frames.times) for q, result in answered)),
        _mean(
            Legible,
            (legible(result.provenance, q.written, q.frames.times) for q, result in answered if q.kind == "clip"),
        ),
        {questions[at].kind: result.report.tokens_in for at, result in results.items()},
    )


def _mean(kind: type[Shares], found: Iterable[Shares | None]) -> Shares:
    """The mean of each share, over where there are any."""
    return kind(*np.mean([astuple(one) for one in found if one is not None], axis=0).tolist())


def clock(
    engine: Engine, entries: Sequence[Entry], questions: Sequence[Question], *, looks: int = 3, turns: int = 3
) -> dict[Entry, Taken]:
    """Seconds to the first token of single looks at the first clips asked about, entries taking turns, so that whatever
    else the machine does falls on all alike. The first of ``entries`` is the host as it is.

    A compressor's time is what it does before the decoder and in its own functions between the decoder's layers; a
    method that replaces attention is charged with all of its attention. Signals of the vision tower, and a tower or
    connector of its own, cost what they take longer than the host's.
    """
    assert entries[0].name == FULL
    clips = [question for question in questions if question.kind == "clip"][:looks]
    taken: dict[Entry, list[Taken]] = {entry: [] for entry in entries}
    engine.look(clips[0].frames, clips[0].text, max_new_tokens=1)
    for _ in range(turns):
        for clip in clips:
            tower = 0.0
            for entry in entries:
                seconds, among_layers = _look(engine, entry, clip)
                here = seconds["encode"] + seconds["connect"]
                tower = here if entry.name == FULL else tower
                own = seconds["select"] + seconds["merge"] + among_layers if entry.method else 0.0
                if _works_in_tower(entry.compression(clip), engine):
                    own += max(here - tower, 0.0)
                taken[entry].append(Taken(sum(seconds.values()), own))
    return {
        entry: Taken(median(one.first_token for one in some), median(one.compressor for one in some))
        for entry, some in taken.items()
    }


def _look(engine: Engine, entry: Entry, clip: Question) -> tuple[dict[str, float], float]:
    """Seconds by stage up to the first token, and those of the method among the decoder's layers."""
    among_layers: list[float] = []
    methods = tuple(_clocked(method, among_layers) for method in entry.compression(clip).methods)
    result = engine.look(entry.shown(clip.frames), clip.text, Compression(methods), max_new_tokens=1)
    seconds = {stage: taken for stage, taken in result.report.seconds.items() if stage != "decode"}
    return seconds, sum(among_layers)


def _works_in_tower(compression: Compression, engine: Engine) -> bool:
    ways = compression.overriding("encode") + compression.overriding("connect")
    return bool(ways or compression.signals(engine.host))


def _clocked(method: Method, seconds: list[float]) -> Method:
    """The same method; each call of a function of its own among the decoder's layers adds its time to ``seconds``."""

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                seconds.append(time.perf_counter() - begun)

        return call

    clocked = copy.copy(method)
    for name in _AMONG_LAYERS:
        if method.overrides(name):
            # Methods are frozen, and which functions they override is read off their class, which stays as it is.
            object.__setattr__(clocked, name, timed(getattr(clocked, name)))
    return clocked


def _good(result: Result | LoupeError) -> Result:
    if isinstance(result, LoupeError):
        raise result
    return result


def able(engine: Engine, entry: Entry, questions: Sequence[Question]) -> BadInput | None:
    """Why ``entry`` cannot take part, found on one question of each kind; None if it can."""
    for kind in entry.kinds:
        question = next(question for question in questions if question.kind == kind)
        try:
            engine.look(question.frames, question.text, entry.compression(question), max_new_tokens=1)
        except BadInput as error:
            return error
    return None
