"""What goes out: a claim with the evidence that proves it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tools.evidence import Cost, Kind
from tools.media.span import Span
from tools.media.view import Region

CitationVerdict = Literal["confirmed", "rejected", "unverified"]
AnswerVerdict = Literal["grounded", "partially_grounded", "not_found"]
Stopped = Literal["answered", "budget", "exhausted"]


class Citation(BaseModel):
    """A place in a video that a person can open and check; times come from evidence, never from generated text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    video_id: str
    start: float
    end: float
    region: Region | None = None
    kind: Kind
    quote: str
    evidence_id: str
    verdict: CitationVerdict


class SubQuestion(BaseModel):
    """Part of a question.

    Attributes:
        id: "q1", "q2" ...; an anchor may name an earlier one.
        text: the part in plain words.
        kinds: the modalities to look in, best first.
        query: words to search for.
        anchor: temporal relation to another sub-question or to the video's clock, e.g. "after q1", "at 130".
        state: open until it is answered or given up.
        answer: what was found, empty while there is nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    kinds: tuple[Kind, ...]
    query: str
    anchor: str | None = None
    state: Literal["open", "answered", "not_found"] = "open"
    answer: str = ""


class Searched(BaseModel):
    """Where was looked in vain or in success: the coverage behind "not found"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool: str
    video_id: str
    span: Span
    query: str = ""
    fps: float | None = None


class Answer(BaseModel):
    """The answer object of the command line and of ``POST /v1/ask``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: str
    option: str | None = None
    confidence: float = Field(ge=0, le=1)
    verdict: AnswerVerdict
    citations: tuple[Citation, ...] = ()
    sub_questions: tuple[SubQuestion, ...] = ()
    searched: tuple[Searched, ...] = ()
    notes: tuple[str, ...] = ()
    trace_id: str
    cost: Cost
    stopped: Stopped
