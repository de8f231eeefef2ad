"""The state of one question while it is worked on: records and references, never pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from agents.actions import Action
from agents.answer import Answer, CitationVerdict, Searched, Stopped, SubQuestion
from agents.question import Question
from tools.evidence import Cost, Evidence
from tools.media.video import Video
from tools.media.view import View


class Claim(BaseModel):
    """A statement and the evidence that is said to prove it.

    Attributes:
        text: the statement.
        evidence_ids: observed evidence, strongest first; a claim without any is no claim.
        sub_question: id of the sub-question that it answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    evidence_ids: tuple[str, ...] = Field(min_length=1)
    sub_question: str = ""


class Draft(BaseModel):
    """An answer before its citations are checked. Without claims it says that nothing was found.

    Attributes:
        text: the answer in words; times in it come from evidence.
        option: letter of the chosen option ("A" is the first), None when none is supported or there are none.
        confidence: 0..1.
        claims: what the answer rests on, most important first.
        cost, note: of the call that wrote it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = ""
    option: str | None = None
    confidence: float = Field(default=0.0, ge=0, le=1)
    claims: tuple[Claim, ...] = ()
    cost: Cost = Cost()
    note: str | None = None

    @property
    def found(self) -> bool:
        """Whether it claims anything."""
        return bool(self.claims)


class Looked(BaseModel):
    """A node of the tree of views.

    Attributes:
        view: what was looked at.
        parent: id of the view that it zooms into, None for a first look.
        tool: the verb: listen, read, detect or look.
        sub_question: which one it served.
        event: number of the trace event that recorded it.
        found: how much evidence it gave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: View
    parent: str | None
    tool: str
    sub_question: str
    event: int
    found: int


@dataclass(frozen=True)
class State:
    """What the nodes of a strategy's graph pass on. Nodes return the fields that they change.

    Attributes:
        question, videos: what is asked, and the videos in scope with their facts.
        sub_questions: the plan, in the order in which they are worked on.
        evidence: by sub-question id, in order of observation, each evidence once.
        hits: by sub-question id, what the index returned for it, best first; candidates, not proof.
        views: the tree of views, in order of looking.
        searched: where was looked, in success or in vain.
        actions: what the reasoner chose for the step that is about to run.
        done: keys (`agents.actions.key`) of all actions that ran.
        missing: tools that turned out not to be available.
        draft: the best answer so far; there is one from the end of planning on.
        checks: verdict by evidence id, once verified.
        notes: what the reader of the answer should know, a sentence each.
        cost: so far; ``seconds`` is wall-clock time since the question came in.
        stopped: why the looking ended, None while it goes on.
        event: number of the last trace event of the main line (plan, retrieve, choose, judge), to hang children on.
        answer: the end result.
    """

    question: Question
    videos: tuple[Video, ...] = ()
    sub_questions: tuple[SubQuestion, ...] = ()
    evidence: Mapping[str, tuple[Evidence, ...]] = field(default_factory=dict)
    hits: Mapping[str, tuple[Evidence, ...]] = field(default_factory=dict)
    views: tuple[Looked, ...] = ()
    searched: tuple[Searched, ...] = ()
    actions: tuple[Action, ...] = ()
    done: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    draft: Draft = field(default_factory=Draft)
    checks: Mapping[str, CitationVerdict] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cost: Cost = field(default_factory=Cost)
    stopped: Stopped | None = None
    event: int | None = None
    answer: Answer | None = None

    def all_evidence(self) -> dict[str, Evidence]:
        """Everything known by id: what was perceived, and index hits that nothing perceived again."""
        known: dict[str, Evidence] = {}
        for group in (*self.hits.values(), *self.evidence.values()):
            known.update((item.id, item) for item in group)
        return known

    def for_question(self, sub_question: str) -> tuple[Evidence, ...]:
        """Evidence of one sub-question: perceived first, then the index hits that it does not repeat."""
        seen = self.evidence.get(sub_question, ())
        ids = {item.id for item in seen}
        return seen + tuple(item for item in self.hits.get(sub_question, ()) if item.id not in ids)
