"""From a registered video to clips in the store; safe to interrupt at any moment."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tools.evidence import Evidence, Kind, Scope
from tools.indexing.manifest import Manifest, Manifests
from tools.indexing.pictures import PicturePass
from tools.media.library import Library
from tools.media.span import Span
from tools.media.video import Video
from tools.media.view import Region
from tools.store import Clip
from tools.transport import Transport
from tools.transport_toolbox import speech_evidence, track_evidence

#: To be raised when the same video, tools and settings give other clips than before.
FORMAT = 2
#: Seconds of speech that go through one call; what they gave is in the store before the next ones start.
_SPEECH_SECONDS = 60.0
#: Calls of speech recognition under way at the same time.
_SPEECH_CALLS = 2
#: Texts whose vectors are kept for the next time that they are seen; 384 numbers each make 6 MB.
_KNOWN_TEXTS = 4096


class Progress(BaseModel):
    """How far a pass has come, in seconds of video."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    video_id: str
    stage: str
    seconds: float
    total: float


OnProgress = Callable[[Progress], None]


class IndexReport(BaseModel):
    """What indexing did.

    Attributes:
        clips: in the store for this video, by kind.
        seconds: wall-clock time; 0 where there was nothing to do.
        realtime: seconds of video handled in a second; 0 where there was nothing to do.
        frames_decoded, frames_read: pictures that the decoder produced, and that text recognition read.
        notes: what could not be done, a sentence each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    video: Video
    clips: dict[str, int]
    seconds: float = 0.0
    realtime: float = 0.0
    frames_decoded: int = 0
    frames_read: int = 0
    notes: tuple[str, ...] = ()


class Indexer:
    """Runs the passes of one video at a time; several videos may be indexed at once.

    A pass writes its clips by deterministic ids and then notes how far it came. So a second run after an interruption
    goes on with the speech that is missing, repeats an unfinished pass over the pictures, and changes nothing else.

    Args:
        manifests: folder of the notes.
        settings: fps, short_side, clip_seconds and batch.
        fingerprint: what decides the content of an index; videos indexed under another one are indexed anew.
    """

    def __init__(
        self,
        library: Library,
        transport: Transport,
        manifests: Path,
        *,
        settings: Mapping[str, Any],
        fingerprint: str,
    ) -> None:
        self._library = library
        self._transport = transport
        self._manifests = Manifests(manifests)
        self._batch: int = settings["batch"]
        self._pictures = PicturePass(transport, **settings)
        self._fingerprint = fingerprint
        self._vectors: dict[str, Any] = {}

    def indexed(self, video_id: str) -> bool:
        """Whether the video is searchable as this profile would make it."""
        manifest = self._manifests.load(video_id)
        return (
            manifest is not None
            and manifest.fingerprint == self._fingerprint
            and all(manifest.done.get(name, False) for name in ("speech", "pictures"))
        )

    async def index(self, video_id: str, progress: OnProgress | None = None) -> IndexReport:
        """Makes a registered video searchable; one that already is costs nothing.

        Raises:
            NotFound: an unknown video, or its file is gone.
        """
        started = time.perf_counter()
        video = self._library.get(video_id)
        if self.indexed(video_id):
            return IndexReport(video=self._mark(video), clips=await self._counts(video_id))
        manifest = self._manifests.load(video_id)
        if manifest is None or manifest.fingerprint != self._fingerprint:
            await self._transport.call("store", "delete_video", video_id)
            manifest = Manifest(fingerprint=self._fingerprint)
            self._manifests.save(video_id, manifest)
            self._library.mark_indexed(video_id, ())
        run = _Run(video, manifest, self._manifests, progress)
        passes = [asyncio.create_task(self._speech(run)), asyncio.create_task(self._images(run))]
        try:
            await asyncio.gather(*passes)
        finally:
            for one in passes:
                one.cancel()
        seconds = time.perf_counter() - started
        return IndexReport(
            video=self._mark(video),
            clips=await self._counts(video_id),
            seconds=seconds,
            realtime=video.info.duration / seconds,
            frames_decoded=run.decoded,
            frames_read=run.read,
            notes=tuple(run.notes),
        )

    def _mark(self, video: Video) -> Video:
        """Notes the kinds of which a finished index misses nothing: those that a tool looked for, and those that the
        file cannot have. Not objects, for detectors find what they have names for, and not what pictures show."""
        info, tools = video.info, self._transport.tools()
        silent = info.audio_codec is None and info.subtitle_codec is None
        known: list[Kind] = []
        if silent or "asr" in tools:
            known.append("speech")
        if info.width == 0 or "ocr" in tools:
            known.append("text")
        return self._library.mark_indexed(video.id, known)

    async def remove(self, video_id: str) -> None:
        """Takes a video's clips out of the store."""
        self._library.mark_indexed(video_id, ())
        self._manifests.remove(video_id)
        await self._transport.call("store", "delete_video", video_id)

    async def _speech(self, run: "_Run") -> None:
        if run.finished("speech"):
            return
        info = run.video.info
        if info.audio_codec is None and info.subtitle_codec is None:
            run.advance("speech", info.span.end, done=True)
            return
        if "asr" not in self._transport.tools():
            run.notes.append("Speech was not indexed: the profile has no ASR backend.")
            run.advance("speech", info.span.end, done=True)
            return
        model: str = await self._transport.call("asr", "model_of", run.video.id)
        start = run.reached("speech", info.span.start)
        windows = Span.of(start, info.span.end).windows(_SPEECH_SECONDS)
        for i in range(0, len(windows), _SPEECH_CALLS):
            group = windows[i : i + _SPEECH_CALLS]
            said = await asyncio.gather(
                *(self._transport.call("asr", "utterances", run.video.id, window) for window in group)
            )
            evidence = [speech_evidence(run.video.id, one, model) for part in said for one in part]
            await self._store(evidence)
            run.advance("speech", group[-1].end, done=group[-1] == windows[-1])

    async def _images(self, run: "_Run") -> None:
        if run.finished("pictures"):
            return
        info, video_id = run.video.info, run.video.id
        if info.width > 0:
            found = await self._pictures.run(run.video.path, lambda until: run.report("pictures", until))
            run.decoded, run.read = found.stats.decoded, found.read
            if found.stats.damaged:
                run.notes.append(f"{found.stats.damaged} damaged pieces of the picture stream were left out.")
            evidence: list[Evidence] = []
            if found.texts:
                model = await self._transport.call("ocr", "model_name")
                evidence += [track_evidence(video_id, "text", one, "read", model) for one in found.texts]
            if found.objects:
                model = await self._transport.call("detect", "model_name")
                evidence += [track_evidence(video_id, "object", one, "detect", model) for one in found.objects]
            await self._store(evidence)
            shots = [(span, None, row) for span, row in zip(found.shots, found.vectors, strict=False)]
            await self._store_pictures(video_id, [*shots, *found.places])
        run.advance("pictures", info.span.end, done=True)

    async def _store(self, evidence: Sequence[Evidence]) -> None:
        for group in _groups(evidence, self._batch):
            # Clocks, logos and refrains come again and again; the same words have the same vector.
            known = {one.text: self._vectors[one.text] for one in group if one.text in self._vectors}
            texts = list(dict.fromkeys(one.text for one in group if one.text not in known))
            if texts:
                known.update(zip(texts, await self._transport.call("embed", "texts", texts), strict=True))
            clips = [Clip(one, text_vector=known[one.text]) for one in group]
            self._vectors.update(known)
            while len(self._vectors) > _KNOWN_TEXTS:
                self._vectors.pop(next(iter(self._vectors)))
            await self._transport.call("store", "upsert", clips)

    async def _store_pictures(self, video_id: str, found: Sequence[tuple[Span, Region | None, Any]]) -> None:
        """Clips that are known by how they look: shots, and places in them."""
        if not found:
            return
        model = await self._transport.call("embed", "visual_model")
        clips = [
            Clip(
                Evidence.make(
                    video_id=video_id,
                    kind="visual",
                    span=span,
                    region=region,
                    text="",
                    score=1.0,
                    tool="search",
                    model=model,
                ),
                visual_vector=vector,
            )
            for span, region, vector in found
        ]
        for group in _groups(clips, self._batch):
            await self._transport.call("store", "upsert", group)

    async def _counts(self, video_id: str) -> dict[str, int]:
        clips: list[Evidence] = await self._transport.call("store", "list", Scope(video_ids=(video_id,)), 1_000_000)
        return dict(sorted(Counter(clip.kind for clip in clips).items()))


class _Run:
    """One video on its way: the notes of both passes and what is reported."""

    def __init__(self, video: Video, manifest: Manifest, manifests: Manifests, progress: OnProgress | None) -> None:
        self.video = video
        self.notes: list[str] = list(video.info.warnings)
        self.decoded = 0
        self.read = 0
        self._manifest = manifest
        self._manifests = manifests
        self._progress = progress

    def finished(self, stage: str) -> bool:
        return self._manifest.done.get(stage, False)

    def reached(self, stage: str, start: float) -> float:
        return self._manifest.until.get(stage, start)

    def advance(self, stage: str, until: float, *, done: bool = False) -> None:
        """Notes on disk that everything before ``until`` is in the store."""
        self._manifest = self._manifest.advanced(stage, until, done=done)
        self._manifests.save(self.video.id, self._manifest)
        self.report(stage, until)

    def report(self, stage: str, until: float) -> None:
        if self._progress is not None:
            span = self.video.info.span
            seconds = min(max(until - span.start, 0.0), span.duration)
            self._progress(Progress(video_id=self.video.id, stage=stage, seconds=seconds, total=span.duration))


def _groups(items: Iterable[Any], size: int) -> Iterable[list[Any]]:
    rest = list(items)
    return (rest[i : i + size] for i in range(0, len(rest), size))
