"""What a trace is made of: events, the run they belong to, and the tree of views that they draw."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from agents.answer import Answer, AnswerVerdict
from agents.question import Question
from tools.evidence import Cost, Evidence, HeatMap, SeenFrame
from tools.media.video import Video
from tools.media.view import Region, View

Status = Literal["running", "done", "failed", "crashed"]


def frame_path(run: Path, sha256: str) -> Path:
    """Where the run in this directory keeps a frame."""
    return run / "blobs" / f"{sha256}.jpg"


def heat_path(run: Path, sha256: str) -> Path:
    """Where the run in this directory keeps a heat map."""
    return run / "blobs" / f"{sha256}.png"


class FrameRef(BaseModel):
    """A frame that was seen: presentation seconds, and the hash of its JPEG in ``blobs/``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: float
    sha256: str


class HeatRef(BaseModel):
    """A heat map of a look: `tools.evidence.HeatMap` with the hash of its PNG in ``blobs/``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: float
    part: Literal["frame", "base", "mosaic"] = "frame"
    region: Region | None = None
    sha256: str


class Event(BaseModel):
    """One thing that happened.

    Attributes:
        n: place in the trace, from 0.
        step: the agent's step, from 0; planning is step 0.
        parent: ``n`` of the event this one came from: for a look, the look that it zooms into.
        node: the graph's node: plan, retrieve, choose, perceive, judge, verify, answer ...
        tool: the verb that was called, if one was: search, listen, read, detect or look.
        view: what was looked at.
        args: the other arguments of the call.
        evidence: what was observed.
        frames: the frames that were seen.
        heat: of a look, which patches of these frames the model saw.
        cost: what this event alone took.
        started, ended: seconds since 1970-01-01 UTC.
        note: what a reader should know, e.g. that a tool was missing or that the rules took over.
        data: whatever else the node decided or found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(ge=0)
    step: int = Field(default=0, ge=0)
    parent: int | None = None
    node: str
    tool: str | None = None
    view: View | None = None
    args: dict[str, JsonValue] = Field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    frames: tuple[FrameRef, ...] = ()
    heat: tuple[HeatRef, ...] = ()
    cost: Cost = Cost()
    started: float
    ended: float
    note: str | None = None
    data: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parent_first(self) -> Self:
        if self.parent is not None and not 0 <= self.parent < self.n:
            raise ValueError(f"event {self.n} cannot come from event {self.parent}: parents come first")
        return self


class Fork(BaseModel):
    """Where a forked run left another one: before the actions of ``step``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trace_id: str
    step: int


class RunInfo(BaseModel):
    """What is known about one run without reading its events.

    Attributes:
        status: running, done, failed (it said so) or crashed (its process is gone and it never finished).
        created, ended: seconds since 1970-01-01 UTC.
        answer, verdict, cost: of the final answer, None before.
        error: why it failed.
        model: the chat model that reasons, None where the rules do.
        prompts: SHA-256 of every prompt that the reasoner uses, by name.
        forked_from: the run that this one continues with another action.
        warnings: what is damaged, a sentence each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    question: Question
    profile: str
    status: Status
    created: float
    ended: float | None = None
    answer: str | None = None
    verdict: AnswerVerdict | None = None
    cost: Cost | None = None
    error: str | None = None
    model: str | None = None
    prompts: dict[str, str] = Field(default_factory=dict)
    forked_from: Fork | None = None
    warnings: tuple[str, ...] = ()


class ViewNode(BaseModel):
    """A look in the tree of views: the event, what it looked at with which tool, and the looks that zoom into it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: int
    step: int
    tool: str | None
    view: View | None
    children: tuple["ViewNode", ...] = ()

    def walk(self) -> Iterator["ViewNode"]:
        """This node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Trace:
    """A run as it was read from disk: complete, still growing, or as far as it came.

    Attributes:
        info: the run; its warnings name the lines that could not be read.
        events: in the order in which they happened.
        videos: those in scope with their facts, as they were then.
        result: the full answer, None where there is none yet.
        path: the run's directory, None for a trace that is not on disk.
    """

    info: RunInfo
    events: tuple[Event, ...]
    videos: tuple[Video, ...] = ()
    result: Answer | None = None
    path: Path | None = None
    _by_n: dict[int, Event] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_n", {event.n: event for event in self.events})

    @property
    def id(self) -> str:
        """The trace's id."""
        return self.info.id

    def event(self, n: int) -> Event | None:
        """The event with this number, or None where its line is lost."""
        return self._by_n.get(n)

    def frames(self, event: Event) -> tuple[SeenFrame, ...]:
        """The pictures that an event saw; those whose file is gone are left out."""
        if self.path is None:
            return ()
        files = [(frame.time, frame_path(self.path, frame.sha256)) for frame in event.frames]
        return tuple(SeenFrame(time=time, jpeg=file.read_bytes()) for time, file in files if file.is_file())

    def heat(self, event: Event) -> tuple[HeatMap, ...]:
        """The heat maps of a look; those whose file is gone are left out."""
        if self.path is None:
            return ()
        files = [(one, heat_path(self.path, one.sha256)) for one in event.heat]
        return tuple(
            HeatMap(time=one.time, part=one.part, region=one.region, png=file.read_bytes())
            for one, file in files
            if file.is_file()
        )

    def cost(self) -> Cost:
        """The sum over all events; for a finished run see ``info.cost``, which also counts the agent's own time."""
        total = Cost()
        for event in self.events:
            total += event.cost
        return total

    def tree(self) -> tuple[ViewNode, ...]:
        """The tree of views: every event that called a tool or looked at a view, under the nearest such ancestor."""
        looks = [event for event in self.events if event.tool is not None or event.view is not None]
        known = {event.n for event in looks}
        below: dict[int | None, list[ViewNode]] = {}
        # Parents come before their children, so backwards every node finds its children ready.
        for event in reversed(looks):
            children = tuple(reversed(below.pop(event.n, [])))
            node = ViewNode(event=event.n, step=event.step, tool=event.tool, view=event.view, children=children)
            below.setdefault(self._ancestor(event, known), []).append(node)
        return tuple(reversed(below.get(None, [])))

    def _ancestor(self, event: Event, known: set[int]) -> int | None:
        """The nearest ancestor in ``known``. Parents have smaller numbers, so the walk ends."""
        parent = event.parent
        while parent is not None and parent not in known:
            above = self._by_n.get(parent)
            parent = above.parent if above is not None else None
        return parent
