"""What tools return: evidence, its cost, and the frames that were seen. One definition for every layer."""

import base64
import hashlib
import json
from collections import Counter
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PlainSerializer

from tools.media.span import Span
from tools.media.view import Region, View

Kind = Literal["speech", "text", "object", "visual"]
KINDS: tuple[Kind, ...] = ("speech", "text", "object", "visual")


def _from_base64(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def _to_base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


#: Bytes that are base64 in JSON, in the alphabet of data: addresses.
Blob = Annotated[bytes, BeforeValidator(_from_base64), PlainSerializer(_to_base64, return_type=str, when_used="json")]


class Evidence(BaseModel):
    """Something a tool observed.

    Attributes:
        id: deterministic; the same observation of the same video by the same model has the same id.
        kind: speech (heard), text (read on screen), object (detected) or visual (seen by a vision-language model,
            or a clip's picture found by its embedding).
        span: when it is heard or visible.
        region: where in the frame, or None when it has no place.
        text: what was said, read, detected or answered.
        score: the tool's own confidence, 0..1 (for search hits: the fused rank score).
        view: what was being looked at, or None when it came from the index.
        tool, model: who observed it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    video_id: str
    kind: Kind
    span: Span
    region: Region | None = None
    text: str
    score: float
    view: View | None = None
    tool: str
    model: str

    @classmethod
    def make(
        cls,
        *,
        video_id: str,
        kind: Kind,
        span: Span,
        text: str,
        score: float,
        tool: str,
        model: str,
        region: Region | None = None,
        view: View | None = None,
    ) -> "Evidence":
        """Evidence with its deterministic id."""
        identity = [video_id, kind, round(span.start, 3), round(span.end, 3), text, model]
        if region is not None:
            identity += [round(side, 4) for side in (region.x0, region.y0, region.x1, region.y1)]
        digest = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).hexdigest()
        return cls(
            id=digest,
            video_id=video_id,
            kind=kind,
            span=span,
            region=region,
            text=text,
            score=score,
            view=view,
            tool=tool,
            model=model,
        )


class Cost(BaseModel):
    """What was spent. Costs add up with ``+``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = 0
    tool_calls: dict[str, int] = Field(default_factory=dict)
    frames_decoded: int = 0
    visual_tokens_in: int = 0
    visual_tokens_kept: int = 0
    llm_tokens_in: int = 0
    llm_tokens_out: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            steps=self.steps + other.steps,
            tool_calls=dict(sorted((Counter(self.tool_calls) + Counter(other.tool_calls)).items())),
            frames_decoded=self.frames_decoded + other.frames_decoded,
            visual_tokens_in=self.visual_tokens_in + other.visual_tokens_in,
            visual_tokens_kept=self.visual_tokens_kept + other.visual_tokens_kept,
            llm_tokens_in=self.llm_tokens_in + other.llm_tokens_in,
            llm_tokens_out=self.llm_tokens_out + other.llm_tokens_out,
            seconds=self.seconds + other.seconds,
        )


class SeenFrame(BaseModel):
    """A picture that a tool looked at, small enough for a trace.

    Attributes:
        time: presentation seconds.
        jpeg: the encoded picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: float
    jpeg: Blob = Field(repr=False)


class HeatMap(BaseModel):
    """What a vision-language model saw of one picture, cell by cell of the lattice that it works on.

    Attributes:
        time: presentation seconds of the picture; a `SeenFrame` of the same look has the same time.
        part: ``frame``; or of a still ``base`` (the whole picture, small) and ``mosaic`` (its crops put together).
        region: the part of the picture that the cells cover, None for all of it.
        png: a pixel a cell. Red is the share of decoder layers that the cell's token went through (0: dropped before
            the decoder); green is 1 divided by how many cells that token stands for; blue tells merged tokens
            apart, roughly: where it differs, another token begins. So yellow cells were kept, orange and red ones
            merged, black ones dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: float
    part: Literal["frame", "base", "mosaic"] = "frame"
    region: Region | None = None
    png: Blob = Field(repr=False)


class Observation(BaseModel):
    """The result of one tool call.

    Attributes:
        evidence: what was observed, in order of time (search: best first).
        cost: what it took.
        frames: the pictures that were looked at.
        heat: of a look, which patches of these pictures the model saw.
        report: of a look, what it cost: `tools.vlm.report.Report` as plain data.
        note: what the caller should know, e.g. that the profile has no vision-language model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    evidence: tuple[Evidence, ...] = ()
    cost: Cost = Cost()
    frames: tuple[SeenFrame, ...] = ()
    heat: tuple[HeatMap, ...] = ()
    report: dict[str, JsonValue] | None = None
    note: str | None = None


class Scope(BaseModel):
    """Where to search: a set of videos, a span, kinds of evidence. Empty means everything.

    A span goes with any number of videos and holds on each one's own clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    video_ids: tuple[str, ...] = ()
    span: Span | None = None
    kinds: tuple[Kind, ...] = ()
