"""The pass over a video's pictures: text tracks, object tracks, shots and tubelets, from one decoding pass."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tools.detect import ObjectTrack
from tools.indexing.tubelets import Tubelet, TubeletBuilder
from tools.media.frames import Frames
from tools.media.scan import Sample, ScanStats, scan
from tools.media.shots import ShotBuilder
from tools.media.span import Span
from tools.media.view import Region
from tools.ocr import TextLine, TextTrack
from tools.ocr.tracks import TextTracker
from tools.transport import Transport

#: Overlap with which an object of one batch goes on in the next.
_SAME_PLACE = 0.2
_INSTANT = 1e-6
#: Share of the picture that is read around a changed place, and from which on the whole picture is read instead.
_MARGIN = 0.03
_WHOLE = 0.6

Image = npt.NDArray[np.uint8]


@dataclass
class Pictures:
    """What the pass found.

    Attributes:
        texts, objects: tracks, in order of start within a batch.
        shots: spans of clips.
        vectors: of the picture nearest to the middle of each clip; empty where pictures are not embedded.
        places: when and where something comes, goes or moves, with a vector each; empty where ``vectors`` is.
        stats: what was decoded.
        read: pictures that went through text recognition.
    """

    texts: list[TextTrack] = field(default_factory=list)
    objects: list[ObjectTrack] = field(default_factory=list)
    shots: list[Span] = field(default_factory=list)
    vectors: list[npt.NDArray[np.float32]] = field(default_factory=list)
    places: list[tuple[Span, Region, npt.NDArray[np.float32]]] = field(default_factory=list)
    stats: ScanStats = field(default_factory=ScanStats)
    read: int = 0


class PicturePass:
    """Runs over one video in bounded memory: one batch of samples is worked on while the next is decoded.

    Args:
        fps, short_side: of the samples.
        clip_seconds: longest clip.
        batch: samples handled at once.
    """

    def __init__(self, transport: Transport, *, fps: float, short_side: int, clip_seconds: float, batch: int) -> None:
        self._transport = transport
        self._fps = fps
        self._short_side = short_side
        self._clip_seconds = clip_seconds
        self._batch = batch

    async def run(self, path: str, advance: Callable[[float], None]) -> Pictures:
        """Everything found in the file at ``path``; ``advance`` is told the second up to which it is done."""
        found = Pictures()
        tools = self._transport.tools()
        visual = bool(await self._transport.call("embed", "has_visual"))
        tracker = TextTracker()
        builder = ShotBuilder(self._clip_seconds)
        thumbnails = _Thumbnails()
        places = TubeletBuilder(self._clip_seconds)
        until = 0.0
        lines: Sequence[TextLine] = ()
        samples = scan(path, fps=self._fps, short_side=self._short_side, stats=found.stats)
        async for batch in _ahead(samples, self._batch):
            seeing = self._call("detect", "detect", batch, (), batch[-1].until) if "detect" in tools else _nothing([])
            objects = asyncio.ensure_future(seeing)
            done: list[Span] = []
            tubelets: list[Tubelet] = []
            for sample in batch:
                if "ocr" in tools and (sample.changed or sample.cut):
                    lines = await self._read(sample, lines)
                    found.read += 1
                tracker.add(sample.time, sample.until, lines)
                done += builder.add(sample)
                if visual:
                    thumbnails.add(sample)
                    tubelets += places.add(sample)
            found.objects = _join(found.objects, await objects)
            await self._clips(found, done, thumbnails, visual)
            await self._places(found, tubelets)
            until = batch[-1].until
            advance(until)
        await self._clips(found, builder.finish(), thumbnails, visual)
        await self._places(found, places.finish(until))
        found.texts = tracker.finish()
        return found

    async def _clips(self, found: Pictures, spans: list[Span], thumbnails: "_Thumbnails", visual: bool) -> None:
        found.shots += spans
        if visual and spans:
            pictures = np.stack([thumbnails.take(span) for span in spans])
            found.vectors += list(await self._transport.call("embed", "images", pictures))

    async def _places(self, found: Pictures, tubelets: Sequence[Tubelet]) -> None:
        if tubelets:
            side = max(max(one.picture.shape) for one in tubelets)
            pictures = np.stack([cv2.resize(one.picture, (side, side)) for one in tubelets])
            vectors = await self._transport.call("embed", "images", pictures)
            found.places += [(one.span, one.region, row) for one, row in zip(tubelets, vectors, strict=True)]

    async def _read(self, sample: Sample, known: Sequence[TextLine]) -> Sequence[TextLine]:
        """The lines of a sample: read where the picture changed, and as they were known elsewhere."""
        places = reading_places(sample, known)
        if places is None:
            return list((await self._call("ocr", "read", [sample]))[0])
        found = await asyncio.gather(*(self._read_place(sample.image, place) for place in places))
        kept = [line for line in known if not any(line.region.intersect(place) for place in places)]
        return kept + [line for lines in found for line in lines]

    async def _read_place(self, image: Image, place: Region) -> list[TextLine]:
        height, width = image.shape[:2]
        rows = slice(math.floor(place.y0 * height), math.ceil(place.y1 * height))
        columns = slice(math.floor(place.x0 * width), math.ceil(place.x1 * width))
        crop = Frames(times=np.zeros(1), images=image[None, rows, columns])
        outer = Region.of(columns.start / width, rows.start / height, columns.stop / width, rows.stop / height)
        lines: list[list[TextLine]] = await self._transport.call("ocr", "read", crop)
        return [replace(line, region=line.region.inside(outer)) for line in lines[0]]

    def _call(self, tool: str, method: str, samples: Sequence[Sample], *args: Any) -> Awaitable[Any]:
        if not samples:
            return _nothing([])
        frames = Frames(
            times=np.array([sample.time for sample in samples]),
            images=np.stack([sample.image for sample in samples]),
            decoded=len(samples),
        )
        return self._transport.call(tool, method, frames, *args)


def reading_places(sample: Sample, known: Sequence[TextLine]) -> list[Region] | None:
    """Where a changed sample is to be read again, or None for the whole of it.

    A place is grown by about the height of a line, and by every known line that it touches: a line that changed in part
    is read as a whole. Places that then overlap become one.
    """
    if sample.cut or not sample.regions:
        return None
    places: list[Region] = []
    for region in sample.regions:
        place = Region.of(region.x0 - _MARGIN, region.y0 - _MARGIN, region.x1 + _MARGIN, region.y1 + _MARGIN)
        while touched := [
            line.region for line in known if line.region.intersect(place) and place.hull(line.region) != place
        ]:
            place = reduce(Region.hull, touched, place)
        for other in [other for other in places if other.intersect(place)]:
            places.remove(other)
            place = place.hull(other)
        places.append(place)
    return places if sum(place.area for place in places) < _WHOLE else None


class _Thumbnails:
    """Pictures of the open clip; a clip is represented by the one nearest to its middle."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)

    def take(self, span: Span) -> Image:
        """The picture for ``span``; earlier ones are dropped."""
        best = min(self._samples, key=lambda sample: abs(sample.time - span.middle))
        self._samples = [sample for sample in self._samples if sample.time >= span.end - _INSTANT] or [best]
        return best.image


async def _ahead(samples: Iterator[Sample], size: int) -> AsyncIterator[list[Sample]]:
    """Batches, of which the next is decoded in a thread while the caller works on this one."""

    def load() -> list[Sample]:
        return list(islice(samples, size))

    coming = asyncio.create_task(asyncio.to_thread(load))
    try:
        while batch := await coming:
            coming = asyncio.create_task(asyncio.to_thread(load))
            yield batch
    finally:
        coming.cancel()


async def _nothing(value: Any) -> Any:
    return value


def _join(before: list[ObjectTrack], after: Sequence[ObjectTrack]) -> list[ObjectTrack]:
    """Tracks of two batches that follow each other; a thing at the border of both becomes one track."""
    joined = list(before)
    for track in after:
        for i in range(len(joined) - 1, -1, -1):
            other = joined[i]
            if (
                (other.label, other.attributes) == (track.label, track.attributes)
                and abs(other.span.end - track.span.start) < _INSTANT
                and other.region.iou(track.region) >= _SAME_PLACE
            ):
                joined[i] = replace(
                    other,
                    span=other.span.hull(track.span),
                    region=other.region.hull(track.region),
                    score=max(other.score, track.score),
                )
                break
        else:
            joined.append(track)
    return joined
