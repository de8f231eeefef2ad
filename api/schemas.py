"""What the routes take and give, beyond the records that every layer shares."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.answer import Answer
from agents.events import Event, RunInfo
from agents.question import Question
from tools.evidence import Cost, Evidence, Scope
from tools.media.video import Video
from tools.media.view import View

JobStatus = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class Problem(BaseModel):
    """An error (RFC 9457): what was wrong, which field was at fault and what to do."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    remedy: str | None = None
    incident: str | None = Field(
        default=None, description="Names the entry in the service's log; only with status 500."
    )


class RegisterRequest(BaseModel):
    """A video to register by address."""

    model_config = ConfigDict(extra="forbid")

    uri: str = Field(
        min_length=1,
        max_length=4096,
        description="A path on the service's machine, a file: address, or an http(s) address. It must lie in a folder "
        "or on a host that the profile allows.",
        examples=["/data/talk.mp4", "https://media.example.org/talk.mp4"],
    )
    name: str | None = Field(default=None, min_length=1, max_length=200, description="What to call it.")
    index: bool = Field(default=True, description="Make it searchable at once.")


class VideoState(BaseModel):
    """A registered video and whether it can be searched."""

    video: Video
    indexed: bool


class Job(BaseModel):
    """Indexing of one video.

    Attributes:
        seconds, total: seconds of video that are done, and that there are.
        realtime: seconds of video handled in a second.
        created, started, ended: seconds since 1970-01-01 UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: Literal["index"] = "index"
    video_id: str
    status: JobStatus = "queued"
    stage: str | None = None
    seconds: float = 0.0
    total: float = 0.0
    realtime: float = 0.0
    clips: dict[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: Problem | None = None
    created: float
    started: float | None = None
    ended: float | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.status not in ("queued", "running")


class Registered(BaseModel):
    """A registered video, with the job that indexes it if one was started."""

    video: Video
    job: Job | None = None


class AskRequest(Question):
    """A question; with ``stream`` the agent's steps come as server-sent events."""

    stream: bool = Field(default=False, description="Answer with server-sent events instead of one JSON object.")

    @model_validator(mode="after")
    def _not_blank(self) -> Self:
        if not self.text.strip():
            raise ValueError("the question is empty")
        return self

    def question(self) -> Question:
        """Without how it is to be answered."""
        return Question.model_validate(self.model_dump(exclude={"stream"}))


class SearchRequest(BaseModel):
    """Words to look for in the index."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(default="", max_length=4000, description="Empty: everything in scope, in order of time.")
    scope: Scope = Scope()
    limit: int = Field(default=10, ge=1, le=1000)


class SearchResult(BaseModel):
    """What was found, best first."""

    evidence: tuple[Evidence, ...]
    cost: Cost
    note: str | None = None


class LookRequest(BaseModel):
    """One look at a view of a video."""

    model_config = ConfigDict(extra="forbid")

    view: View = Field(description="Which video, which seconds, how many frames a second, which part, how large.")
    question: str = Field(min_length=1, max_length=4000, description="What to answer.")
    method: str | None = Field(
        default=None,
        max_length=1000,
        description="How visual tokens are spent, instead of the profile's own way: `name:option=value+name...`, a "
        "bare budget such as `:tokens=64`, or `none`; see `GET /v1/methods`.",
        examples=["divprune:keep=0.1"],
    )
    pictures: int = Field(default=8, ge=0, le=64, description="Most pictures, with heat maps, that come back.")


class TraceDetail(BaseModel):
    """One run with all that happened."""

    info: RunInfo
    events: tuple[Event, ...]
    result: Answer | None


class Ready(BaseModel):
    """Whether questions can be asked, and what each tool that cannot be used is waiting for."""

    ready: bool
    tools: tuple[str, ...]
    problems: dict[str, str]


class Version(BaseModel):
    """Which Loupe this is."""

    name: str = "loupe"
    version: str
    profile: str
