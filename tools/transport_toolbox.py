"""The five verbs over tools that a transport reaches, in this process or on a cluster."""

import asyncio
import time
from collections.abc import Sequence

from pydantic_core import to_jsonable_python

from tools.asr import Utterance
from tools.detect import ObjectTrack
from tools.evidence import Cost, Evidence, Kind, Observation, Scope
from tools.media.span import Span
from tools.media.tool import Glimpse
from tools.media.video import Video
from tools.media.view import Region, View
from tools.ocr import TextTrack
from tools.store import Query
from tools.transport import Transport
from tools.vlm.heatmap import heat_maps
from tools.vlm.look import Look


class TransportToolbox:
    """The verbs over tools that a transport reaches.

    Pictures go from the decoder to the recogniser by reference; this object only ever holds the few small JPEGs that a
    trace keeps.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._has_visual: bool | None = None

    async def videos(self, scope: Scope) -> list[Video]:
        """The videos in scope."""
        found: list[Video] = await self._transport.call("media", "videos", scope.video_ids)
        return found

    async def search(self, query: str, scope: Scope, limit: int = 10) -> Observation:
        """Hybrid search over the index."""
        started = time.perf_counter()
        found: Sequence[Evidence]
        if query.strip():
            text_vectors = await self._transport.call("embed", "texts", [query])
            visual_vector = None
            if (not scope.kinds or "visual" in scope.kinds) and await self._visual():
                visual_vector = (await self._transport.call("embed", "visual_texts", [query]))[0]
            found = await self._transport.call(
                "store",
                "query",
                Query(
                    text=query,
                    text_vector=text_vectors[0],
                    visual_vector=visual_vector,
                    scope=scope,
                    limit=limit,
                ),
            )
        else:
            found = await self._transport.call("store", "list", scope, limit)
        return Observation(evidence=tuple(found), cost=_cost("search", started))

    async def _visual(self) -> bool:
        """Whether pictures have vectors here; asked once."""
        if self._has_visual is None:
            self._has_visual = bool(await self._transport.call("embed", "has_visual"))
        return self._has_visual

    async def listen(self, view: View) -> Observation:
        """Speech of the span, recognised anew."""
        started = time.perf_counter()
        utterances: list[Utterance] = await self._transport.call("asr", "transcribe", view.video_id, view.span)
        model: str = await self._transport.call("asr", "model_of", view.video_id)
        evidence = tuple(speech_evidence(view.video_id, said, model, view) for said in utterances)
        return Observation(evidence=evidence, cost=_cost("listen", started))

    async def read(self, view: View) -> Observation:
        """Text tracks of the view."""
        started = time.perf_counter()
        frames = self._transport.call("media", "frames", view)
        tracks, model, glimpse = await asyncio.gather(
            self._transport.call("ocr", "tracks", frames, view.span.end),
            self._transport.call("ocr", "model_name"),
            self._transport.call("media", "glimpse", frames),
        )
        evidence = tuple(track_evidence(view.video_id, "text", track, "read", model, view) for track in tracks)
        return Observation(evidence=evidence, cost=_cost("read", started, glimpse), frames=glimpse.frames)

    async def detect(self, view: View, labels: Sequence[str] = ()) -> Observation:
        """Object tracks of the view."""
        started = time.perf_counter()
        frames = self._transport.call("media", "frames", view)
        tracks, model, glimpse = await asyncio.gather(
            self._transport.call("detect", "detect", frames, tuple(labels), view.span.end),
            self._transport.call("detect", "model_name"),
            self._transport.call("media", "glimpse", frames),
        )
        evidence = tuple(track_evidence(view.video_id, "object", track, "detect", model, view) for track in tracks)
        return Observation(evidence=evidence, cost=_cost("detect", started, glimpse), frames=glimpse.frames)

    async def look(
        self, view: View, question: str, method: str | None = None, *, pictures: int = 8, short_side: int = 240
    ) -> Observation:
        """A model's answer about the view, or a note where the profile has no model.

        Args:
            pictures: most pictures (with their heat maps) that come back; an even choice of those that were seen.
            short_side: pixels of their shorter side.
        """
        started = time.perf_counter()
        if "vlm" not in self._transport.tools():
            return Observation(
                cost=_cost("look", started),
                note="this profile has no vision-language model, so pictures cannot be described; "
                "name one under 'vlm' in the profile",
            )
        frames = self._transport.call("media", "frames", view)
        seen: Look = await self._transport.call("vlm", "look", frames, question, method)
        heat = heat_maps(seen.report)
        times = list(dict.fromkeys(one.time for one in heat)) or None
        glimpse: Glimpse = await self._transport.call("media", "glimpse", frames, times, pictures, short_side)
        shown = {frame.time for frame in glimpse.frames}
        evidence = Evidence.make(
            video_id=view.video_id,
            kind="visual",
            span=view.span,
            region=view.region,
            text=seen.text,
            score=seen.confidence,
            view=view,
            tool="look",
            model=seen.model,
        )
        cost = _cost("look", started, glimpse) + Cost(
            visual_tokens_in=seen.tokens_in, visual_tokens_kept=seen.tokens_kept
        )
        strange = _strangeness(seen)
        return Observation(
            evidence=(evidence,) if seen.text and not strange else (),
            note=strange,
            cost=cost,
            frames=glimpse.frames,
            heat=tuple(one for one in heat if one.time in shown),
            report=to_jsonable_python({key: value for key, value in seen.report.items() if key != "heat"}) or None,
        )


def _strangeness(seen: Look) -> str | None:
    """Why an answer is no evidence: what a small model says to words that it never met is chance."""
    unknown = seen.report.get("unknown", ())
    if not unknown:
        return None
    words = ", ".join(f"'{word}'" for word in unknown)
    return (
        f"the model '{seen.model}' never met {words} in its training, so that its answer '{seen.text}' does not count; "
        "name a larger model under 'vlm' in the profile"
    )


def speech_evidence(video_id: str, said: Utterance, model: str, view: View | None = None) -> Evidence:
    """An utterance as evidence."""
    return Evidence.make(
        video_id=video_id,
        kind="speech",
        span=said.span,
        text=said.text,
        score=said.score,
        view=view,
        tool="listen",
        model=model,
    )


def track_evidence(
    video_id: str, kind: Kind, track: TextTrack | ObjectTrack, tool: str, model: str, view: View | None = None
) -> Evidence:
    """A track of text or of a thing as evidence; its region becomes fractions of the whole frame."""
    region: Region = track.region
    if view is not None and view.region is not None:
        region = region.inside(view.region)
    span: Span = track.span
    return Evidence.make(
        video_id=video_id,
        kind=kind,
        span=span,
        region=region,
        text=track.text,
        score=track.score,
        view=view,
        tool=tool,
        model=model,
    )


def _cost(verb: str, started: float, glimpse: Glimpse | None = None) -> Cost:
    return Cost(
        tool_calls={verb: 1},
        frames_decoded=glimpse.decoded if glimpse else 0,
        seconds=time.perf_counter() - started,
    )
