"""Loupe with the real tools of the embedded profile, in this process, and questions put to it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.answer import Answer
from agents.loupe import Loupe
from agents.question import Budget, Question
from configs import load_profile
from tools.evidence import Scope
from tools.media.span import Span


@pytest.fixture(scope="module")
def loupe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loupe]:
    """On a data directory of its own."""
    with Loupe.open(load_profile("embedded"), tmp_path_factory.mktemp("home")) as opened:
        yield opened


def ask(loupe: Loupe, path: Path, text: str, *options: str, **limits: float) -> Answer:
    """The answer about one file, which is indexed first."""
    report = asyncio.run(loupe.index(str(path)))
    scope = Scope(video_ids=(report.video.id,))
    return asyncio.run(
        loupe.ask(Question(text=text, options=options, scope=scope, budget=Budget.model_validate(limits)))
    )


def cites(answer: Answer, kind: str, truth: Span) -> bool:
    """Whether a confirmed citation of this kind overlaps the truth."""
    return any(
        one.kind == kind and one.verdict == "confirmed" and Span.of(one.start, one.end).overlaps(truth)
        for one in answer.citations
    )
