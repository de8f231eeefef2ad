"""The forms in which a chat model replies, and how a reply becomes a plan, actions or a draft."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.actions import Action, Detect, Finish, Listen, Look, Read, Search, key
from agents.answer import SubQuestion
from agents.chat.menu import Menu, Segment
from agents.question import Question
from agents.state import Claim, Draft, State
from tools.evidence import Kind, Scope
from tools.media.span import format_time
from tools.media.view import Region, View

#: Most parts of a plan and most actions of a step.
MAX_PARTS = 6
MAX_ACTIONS = 4

#: Pictures a second and most pictures of a look, by the word for it.
_RATES = {"sparse": (0.5, 8), "normal": (1.0, 16), "dense": (4.0, 48)}
#: Short side in pixels by the word for it.
_SIZES = {"small": 240, "normal": 480, "large": 960}
_PLACES = {
    "left": Region.of(0, 0, 0.5, 1),
    "right": Region.of(0.5, 0, 1, 1),
    "top": Region.of(0, 0, 1, 0.5),
    "bottom": Region.of(0, 0.5, 1, 1),
    "center": Region.of(0.25, 0.25, 0.75, 0.75),
}
_RELATION = re.compile(r"(?:right )?(?:after|before|during) q(\d+)|between q(\d+) and q(\d+)")
_PICK = re.compile(r"first|last|number \d+")
_CITED = re.compile(r"\s*\[(e\d+)\]")
_TIME = re.compile(r"\b\d{1,2}(?::\d{2}){1,2}\b|\b\d+(?:\.\d+)?\s*(?:s|secs?|seconds?|mins?|minutes?)\b", re.IGNORECASE)


class ReplyError(Exception):
    """A reply that has the right form but cannot be used; the message tells the model why."""


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PartReply(_Reply):
    """One part of a plan."""

    text: str = Field(min_length=1)
    kinds: list[Kind] = Field(min_length=1)
    query: str = ""
    when: str = ""


class PlanReply(_Reply):
    """The reply to ``plan.md``."""

    sub_questions: list[PartReply] = Field(min_length=1, max_length=MAX_PARTS)


class ActionReply(_Reply):
    """One action, as flat as small models need it."""

    tool: Literal["search", "listen", "read", "detect", "look", "finish"]
    sub_question: str = ""
    segment: str = ""
    where: str = "all"
    rate: Literal["sparse", "normal", "dense"] = "normal"
    size: Literal["small", "normal", "large"] = "normal"
    query: str = ""
    reason: str = ""


class DecideReply(_Reply):
    """The reply to ``decide.md``."""

    actions: list[ActionReply] = Field(min_length=1, max_length=MAX_ACTIONS)


class ClaimReply(_Reply):
    """One claim of an answer."""

    text: str = Field(min_length=1)
    evidence: list[str] = Field(min_length=1)
    sub_question: str = ""


class AnswerReply(_Reply):
    """The reply to ``answer.md``."""

    found: bool
    answer: str = ""
    option: str | None = None
    claims: list[ClaimReply] = Field(default_factory=list)
    confidence: float = Field(default=0.5, ge=0, le=1)


def to_sub_questions(reply: PlanReply, clocks: Mapping[str, str]) -> tuple[SubQuestion, ...]:
    """The plan; ``clocks`` are the anchors of the times that the question names, by their names t1, t2 ...

    Raises:
        ReplyError: a part lies in time as no anchor can say.
    """
    return tuple(
        SubQuestion(
            id=f"q{i}",
            text=part.text,
            kinds=tuple(dict.fromkeys(part.kinds)),
            query=part.query or part.text,
            anchor=_anchor(part.when, i, clocks),
        )
        for i, part in enumerate(reply.sub_questions, 1)
    )


def _anchor(when: str, number: int, clocks: Mapping[str, str]) -> str | None:
    terms = []
    for term in filter(None, (part.strip().lower() for part in when.split(","))):
        match = _RELATION.fullmatch(term)
        if match and any(not 0 < int(ref) < number for ref in match.groups() if ref):
            raise ReplyError(f"'{term}' of part q{number} must name an earlier part")
        if not (match or _PICK.fullmatch(term) or term in clocks):
            named = f"or one of {', '.join(clocks)}" if clocks else "and the question names no times"
            raise ReplyError(f"'{term}' is not a way to say when: use relations to earlier parts, first, last {named}")
        terms.append(clocks.get(term, term))
    return ", ".join(terms) or None


def to_actions(reply: DecideReply, menu: Menu, state: State) -> tuple[Action, ...]:
    """What to do next, without what was done before.

    Raises:
        ReplyError: an action names what is not on the menu, or all were done before.
    """
    actions = [_action(item, menu, state) for item in reply.actions]
    fresh = [action for action in actions if isinstance(action, Finish) or key(action) not in state.done]
    if not fresh:
        raise ReplyError("all these actions were done before: choose others, or finish")
    return tuple(fresh)


def _action(reply: ActionReply, menu: Menu, state: State) -> Action:
    if reply.tool in state.missing:
        raise ReplyError(f"the tool '{reply.tool}' is not available")
    parts = [part.id for part in state.sub_questions]
    if reply.sub_question and reply.sub_question not in parts:
        raise ReplyError(f"there is no part '{reply.sub_question}'; the parts are {', '.join(parts)}")
    segment = _segment(reply, menu)
    sub_question, reason, query = reply.sub_question, reply.reason, reply.query.strip()
    if reply.tool == "finish":
        return Finish(sub_question=sub_question, reason=reason)
    if reply.tool == "search":
        scope = state.question.scope
        if segment is not None:
            scope = Scope(video_ids=(segment.video_id,), span=segment.span, kinds=scope.kinds)
        return Search(sub_question=sub_question, reason=reason, query=query, scope=scope)
    if segment is None:
        raise ReplyError(f"'{reply.tool}' needs a segment: one of s1 to s{len(menu.segments)}")
    view, parent = _view(reply, segment, menu), segment.parent(state)
    if reply.tool == "listen":
        return Listen(sub_question=sub_question, reason=reason, view=view, parent=parent)
    if reply.tool == "read":
        return Read(sub_question=sub_question, reason=reason, view=view, parent=parent)
    if reply.tool == "detect":
        labels = tuple(label for label in (part.strip() for part in query.split(",")) if label)
        return Detect(sub_question=sub_question, reason=reason, view=view, parent=parent, labels=labels)
    if not query:
        raise ReplyError("'look' needs a question about the pictures in 'query'")
    return Look(sub_question=sub_question, reason=reason, view=view, parent=parent, question=query)


def _segment(reply: ActionReply, menu: Menu) -> Segment | None:
    if not reply.segment:
        return None
    if reply.segment not in menu.segments:
        raise ReplyError(f"there is no segment '{reply.segment}'; there are s1 to s{len(menu.segments)}")
    return menu.segments[reply.segment]


def _view(reply: ActionReply, segment: Segment, menu: Menu) -> View:
    if reply.tool == "listen":
        return View(video_id=segment.video_id, span=segment.span)
    rate, most = _RATES[reply.rate]
    return View(
        video_id=segment.video_id,
        span=segment.span,
        fps=min(rate, most / max(segment.span.duration, 1e-3)),
        region=_region(reply.where, menu),
        short_side=_SIZES[reply.size],
    )


def _region(where: str, menu: Menu) -> Region | None:
    if where in ("", "all"):
        return None
    if where in _PLACES:
        return _PLACES[where]
    item = menu.evidence.get(where)
    if item is None or item.region is None:
        raise ReplyError(f"'{where}' is no place: use all, {', '.join(_PLACES)}, or evidence that has a box")
    return item.region.pad(0.1)


def to_draft(reply: AnswerReply, menu: Menu, question: Question, parts: Sequence[str]) -> Draft:
    """The answer with its claims; ``[e3]`` in its text becomes the time of that evidence.

    Raises:
        ReplyError: it cites evidence that does not exist, has no claims, picks an option that does not exist, or
            writes a time that stands neither in the question nor in the evidence.
    """
    if not reply.found:
        return Draft(confidence=reply.confidence)
    if not reply.answer.strip() or not reply.claims:
        raise ReplyError("an answer that was found needs a text and at least one claim with evidence")
    cited = [name for claim in reply.claims for name in claim.evidence]
    cited += [name for text in (reply.answer, *(c.text for c in reply.claims)) for name in _CITED.findall(text)]
    unknown = sorted({name for name in cited if name not in menu.evidence})
    if unknown:
        raise ReplyError(f"there is no evidence {', '.join(unknown)}; there is e1 to e{len(menu.evidence)}")
    _refuse_own_times(reply, menu, question)
    timed = _time_writer(menu)
    return Draft(
        text=timed(reply.answer.strip()),
        option=_option(reply.option, question),
        confidence=reply.confidence,
        claims=tuple(
            Claim(
                text=timed(claim.text.strip()),
                evidence_ids=tuple(dict.fromkeys(menu.evidence[name].id for name in claim.evidence)),
                sub_question=claim.sub_question if claim.sub_question in parts else "",
            )
            for claim in reply.claims
        ),
    )


def _option(option: str | None, question: Question) -> str | None:
    letters = [chr(ord("A") + i) for i in range(len(question.options))]
    if not option or not letters:
        if letters:
            raise ReplyError(f"choose an option: {', '.join(letters)}; or say that it is not found")
        return None
    letter = option.strip().rstrip(".):").upper()
    if letter not in letters:
        raise ReplyError(f"there is no option '{option}'; there are {', '.join(letters)}")
    return letter


def _refuse_own_times(reply: AnswerReply, menu: Menu, question: Question) -> None:
    known = " ".join((question.text, *question.options, *(item.text for item in menu.evidence.values()))).lower()
    for text in (reply.answer, *(claim.text for claim in reply.claims)):
        for match in _TIME.finditer(text):
            if match[0].lower() not in known:
                raise ReplyError(f"'{match[0]}' is a time of your own: write the id of evidence, such as [e1], instead")


def _time_writer(menu: Menu) -> Callable[[str], str]:
    return lambda text: _CITED.sub(
        lambda match: f" (at {format_time(menu.evidence[match[1]].span.start)})", text
    ).strip()
