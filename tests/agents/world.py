"""A scripted world: what is said, written and visible in several videos, and a toolbox that perceives it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents.rules.words import content, coverage
from tools.errors import NotFound, ToolUnavailable
from tools.evidence import Cost, Evidence, Kind, Observation, Scope, SeenFrame
from tools.media.span import Span
from tools.media.video import Video, VideoInfo
from tools.media.view import Region, View

LINE = Region.of(0.1, 0.8, 0.9, 0.85)


@dataclass(frozen=True)
class Fact:
    """Something that is true in a video; ``heard`` is what imperfect recognition makes of it."""

    kind: Kind
    start: float
    end: float
    text: str
    region: Region | None = None
    heard: str | None = None

    @property
    def span(self) -> Span:
        return Span.of(self.start, self.end)


def said(start: float, end: float, text: str) -> Fact:
    return Fact("speech", start, end, text)


def written(start: float, end: float, text: str, region: Region = LINE) -> Fact:
    return Fact("text", start, end, text, region)


def shown(start: float, end: float, label: str, region: Region | None = None) -> Fact:
    return Fact("object", start, end, label, region or Region.of(0.4, 0.4, 0.6, 0.6))


def seen(start: float, end: float, text: str) -> Fact:
    return Fact("visual", start, end, text)


@dataclass
class World:
    """Videos by id: their length and their facts."""

    videos: dict[str, tuple[float, list[Fact]]]

    def video(self, id_: str) -> Video:
        length = self.videos[id_][0]
        info = VideoInfo(
            span=Span.of(0, length),
            width=640,
            height=360,
            fps=25,
            video_codec="h264",
            audio_codec="aac",
            subtitle_codec=None,
        )
        return Video(id=id_, name=f"{id_}.mp4", path=f"/videos/{id_}.mp4", info=info)


@dataclass
class WorldToolbox:
    """Perceives a `World`; counts its calls and frames; tools can be missing, broken or slow.

    Attributes:
        broken: exceptions by verb, raised by every call.
        slow: seconds by verb that a call takes.
        indexed: kinds that the index knows.
        wrong: ids of videos whose index holds text that is not in the video, for citations that must be rejected.
    """

    world: World
    broken: dict[str, Exception] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    indexed: tuple[Kind, ...] = ("speech", "text", "object", "visual")
    calls: list[tuple[str, object]] = field(default_factory=list)
    frames: int = 0
    misheard: Callable[[str], str] = str
    ghosts: tuple[tuple[str, Fact], ...] = ()

    async def videos(self, scope: Scope) -> list[Video]:
        for id_ in scope.video_ids:
            if id_ not in self.world.videos:
                raise NotFound(f"there is no video {id_}", remedy="index it", field="scope.video_ids")
        found = [self.world.video(id_) for id_ in scope.video_ids or self.world.videos]
        whole = tuple(kind for kind in ("speech", "text") if kind in self.indexed)
        return [video.model_copy(update={"indexed_kinds": whole}) for video in found]

    async def search(self, query: str, scope: Scope, limit: int = 10) -> Observation:
        await self._called("search", (query, scope))
        facts = [(id_, fact) for id_, (_, known) in self.world.videos.items() for fact in known]
        found = []
        for id_, fact in [*facts, *self.ghosts]:
            if (
                fact.kind not in self.indexed
                or (scope.video_ids and id_ not in scope.video_ids)
                or (scope.kinds and fact.kind not in scope.kinds)
                or (scope.span is not None and not fact.span.overlaps(scope.span))
            ):
                continue
            found.append((id_, fact))
        if query:
            rank = {id(entry): coverage(content(query), entry[1].text) for entry in found}
            found.sort(key=lambda entry: (-rank[id(entry)], entry[0], entry[1].start))
        else:
            found.sort(key=lambda entry: (entry[0], entry[1].start))
        evidence = [self._evidence(id_, fact, "search", None, 0.9 / (n + 1)) for n, (id_, fact) in enumerate(found)]
        return Observation(evidence=tuple(evidence[:limit]))

    async def listen(self, view: View) -> Observation:
        return await self._perceive("listen", "speech", view)

    async def read(self, view: View) -> Observation:
        return await self._perceive("read", "text", view)

    async def detect(self, view: View, labels: Sequence[str] = ()) -> Observation:
        observation = await self._perceive("detect", "object", view)
        kept = tuple(item for item in observation.evidence if not labels or item.text in labels)
        return observation.model_copy(update={"evidence": kept})

    async def look(self, view: View, question: str, method: str | None = None) -> Observation:
        if "visual" not in self.indexed:
            return Observation(note="this profile has no vision-language model")
        return await self._perceive("look", "visual", view)

    async def _perceive(self, verb: str, kind: Kind, view: View) -> Observation:
        await self._called(verb, view)
        times = [] if verb == "listen" else view.sample_times()
        self.frames += len(times)
        found = []
        for fact in self.world.videos[view.video_id][1]:
            inside = fact.span.intersect(view.span)
            where = fact.region is None or view.region is None or fact.region.intersect(view.region)
            if fact.kind == kind and inside is not None and inside.duration > 0 and where:
                # Close-ups are read with more confidence, longer looks are surer.
                score = min(0.99, 0.8 + view.short_side / 10_000)
                found.append(self._evidence(view.video_id, fact, verb, view, score))
        cost = Cost(
            frames_decoded=len(times),
            visual_tokens_in=len(times) * 64 if verb == "look" else 0,
            visual_tokens_kept=len(times) * 16 if verb == "look" else 0,
            seconds=0.01,
        )
        pictures = tuple(SeenFrame(time=time, jpeg=f"{view.id}{time}".encode()) for time in times[:2])
        return Observation(evidence=tuple(found), cost=cost, frames=pictures)

    async def _called(self, verb: str, what: object) -> None:
        self.calls.append((verb, what))
        if verb in self.slow:
            await asyncio.sleep(self.slow[verb])
        if verb in self.broken:
            raise self.broken[verb]

    def _evidence(self, id_: str, fact: Fact, verb: str, view: View | None, score: float) -> Evidence:
        text = self.misheard(fact.text) if fact.kind == "speech" else fact.text
        if fact.kind == "visual" and verb == "search":
            text = ""
        return Evidence.make(
            video_id=id_,
            kind=fact.kind,
            span=fact.span,
            text=text,
            score=score,
            region=fact.region,
            view=view,
            tool=verb,
            model="world",
        )


def unavailable(tool: str) -> ToolUnavailable:
    return ToolUnavailable(f"this profile has no tool '{tool}'", remedy=f"name a backend under '{tool}' in the profile")


TITLE = Region.of(0.2, 0.1, 0.8, 0.2)
SUBTITLE = Region.of(0.2, 0.22, 0.8, 0.28)
LOGO = Region.of(0.9, 0.02, 0.98, 0.06)


def documentary() -> list[Fact]:
    """Mountain lakes, told and captioned; a clock runs in the corner and a logo stays on screen throughout."""
    clock = [written(float(s), s + 1.0, f"00:{s // 60:02d}:{s % 60:02d}", LOGO) for s in range(0, 300, 5)]
    return [
        written(0, 300, "GeoChannel", Region.of(0.02, 0.02, 0.1, 0.06)),
        *clock,
        written(0, 9, "The Hidden Lakes", TITLE),
        written(0, 9, "A film by Ada Moreno", SUBTITLE),
        said(2, 6, "welcome to our journey through the mountains"),
        said(12, 17, "the lake is forty two meters deep and ice cold all year"),
        said(17.5, 21, "nobody has ever seen its bottom"),
        said(40, 44, "we arrive at the old lighthouse on the northern shore"),
        written(46, 58, "Built 1887 by Henrik Olsen"),
        said(60, 64, "volcanoes formed this valley a million years ago"),
        written(66, 80, "Chapter Two: Fire", TITLE),
        said(90, 95, "the glacier moves three centimeters every day"),
        written(96, 104, "Professor Lena Fischer"),
        said(97, 103, "my name is lena fischer and i study ice"),
        said(130, 134, "the glacier is melting faster than ever before"),
        shown(140, 150, "face"),
        shown(143, 152, "face", Region.of(0.1, 0.4, 0.3, 0.6)),
        written(160, 170, "Temperature: 4 degrees"),
        said(161, 165, "measurements show the water is not warm enough for trout"),
        seen(180, 190, "a red canoe on the lake"),
        said(200, 204, "one day the glacier will be gone"),
        written(280, 295, "Thanks for watching", TITLE),
        said(282, 286, "goodbye and see you next time"),
    ]


def travel() -> list[Fact]:
    """A walk through a city."""
    return [
        written(0, 8, "Lisbon in a day", TITLE),
        said(3, 7, "today we walk through lisbon"),
        said(30, 35, "the bridge was completed in nineteen sixty six"),
        written(36, 50, "Ponte 25 de Abril"),
        said(80, 84, "a tram ticket costs three euros"),
        shown(100, 130, "tram"),
        said(150, 155, "our guide maria was born in porto"),
        said(240, 244, "the tower is the most famous sight of the city"),
    ]
