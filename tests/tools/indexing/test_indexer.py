"""Indexing with real pictures and scripted recognisers: idempotent, interruptible, honest about what is missing."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.synth.script import Caption, Scene, Script
from evals.synth.write import write
from tools.asr import Utterance, Word
from tools.evidence import Evidence, Scope
from tools.indexing.indexer import Indexer, Progress
from tools.indexing.pictures import reading_places
from tools.media.library import Library
from tools.media.scan import Sample
from tools.media.span import Span
from tools.media.view import Region
from tools.ocr import TextLine
from tools.store import Clip
from tools.transport import InProcess

SETTINGS = {"fps": 1.0, "short_side": 180, "clip_seconds": 10.0, "batch": 4}


@dataclass
class MemoryStore:
    clips: dict[str, Evidence] = field(default_factory=dict)

    def upsert(self, clips: list[Clip]) -> None:
        self.clips.update({clip.evidence.id: clip.evidence for clip in clips})

    def list(self, scope: Scope, limit: int) -> list[Evidence]:
        return [clip for clip in self.clips.values() if clip.video_id in scope.video_ids][:limit]

    def delete_video(self, video_id: str) -> int:
        gone = [key for key, clip in self.clips.items() if clip.video_id == video_id]
        for key in gone:
            del self.clips[key]
        return len(gone)


class Ears:
    """Hears one utterance a minute; fails from a given second on, once."""

    def __init__(self, fails_at: float | None = None) -> None:
        self.fails_at = fails_at
        self.heard: list[Span] = []

    def model_of(self, video_id: str) -> str:
        return "ears"

    def utterances(self, video_id: str, span: Span) -> list[Utterance]:
        if self.fails_at is not None and span.end > self.fails_at:
            self.fails_at = None
            raise KeyboardInterrupt
        self.heard.append(span)
        said = Span.of(span.start + 1, span.start + 2)
        return [Utterance((Word(f"minute{span.start:.0f}", said, 1.0),))]


class Eyes:
    """Reads one word in a bright picture, nothing in a dark one, and counts pictures."""

    def __init__(self) -> None:
        self.read_pictures = 0

    def read(self, frames: Any) -> list[list[TextLine]]:
        self.read_pictures += len(frames)
        line = TextLine("bright", Region.of(0.1, 0.1, 0.5, 0.3), 0.9)
        return [[line] if image.mean() > 100 else [] for image in frames.images]

    def model_name(self) -> str:
        return "eyes"


class Vectors:
    def has_visual(self) -> bool:
        return True

    def texts(self, texts: list[str]) -> np.ndarray[Any, Any]:
        return np.ones((len(texts), 4), np.float32) / 2

    def images(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.ones((len(images), 3), np.float32)

    def visual_model(self) -> str:
        return "vectors"


@dataclass
class World:
    library: Library
    tools: dict[str, Any]
    indexer: Indexer
    video_id: str
    manifests: Path

    @property
    def clips(self) -> dict[str, Evidence]:
        found: dict[str, Evidence] = self.tools["store"].clips
        return found


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 s with a cut in the middle, small pictures, and a silent sound track."""
    path = tmp_path_factory.mktemp("video") / "two-scenes.mp4"
    events = (
        Scene(span=Span.of(0, 75), texture="plain", tint=1),
        Scene(span=Span.of(75, 150), texture="checks", tint=50),
        Caption(span=Span.of(20, 40), text="Hello"),
    )
    write(Script(seed=1, duration=150.0, fps=5, width=320, height=180, events=events), path)
    return path


@pytest.fixture
def world(video: Path, tmp_path: Path) -> Iterator[World]:
    library = Library(tmp_path / "home")
    tools = {"store": MemoryStore(), "asr": Ears(), "ocr": Eyes(), "embed": Vectors()}
    transport = InProcess(tools)
    indexer = Indexer(library, transport, tmp_path / "index", settings=SETTINGS, fingerprint="one")
    yield World(library, tools, indexer, library.add(video).id, tmp_path / "index")
    transport.close()


def test_everything_is_found_once(world: World) -> None:
    report = asyncio.run(world.indexer.index(world.video_id))
    assert report.clips["speech"] == 3  # 150 s in windows of a minute
    assert report.clips["visual"] >= 15
    assert report.frames_decoded > 0
    assert world.indexer.indexed(world.video_id)
    before = dict(world.clips)
    assert report.video.indexed_kinds == ("speech", "text")
    assert world.library.get(world.video_id) == report.video
    again = asyncio.run(world.indexer.index(world.video_id))
    assert again.seconds == 0
    assert again.clips == report.clips
    assert world.clips == before


def test_places_where_something_comes_and_goes_are_clips_of_their_own(world: World) -> None:
    asyncio.run(world.indexer.index(world.video_id))
    pictures = [clip for clip in world.clips.values() if clip.kind == "visual"]
    places = [clip for clip in pictures if clip.region is not None]
    assert len(pictures) - len(places) >= 15
    assert places
    assert min(clip.span.start for clip in places) == pytest.approx(20, abs=1)
    assert max(clip.span.end for clip in places) == pytest.approx(40, abs=1)
    assert all(clip.text == "" for clip in places)


def test_text_is_read_only_where_something_changed(world: World) -> None:
    report = asyncio.run(world.indexer.index(world.video_id))
    assert 2 <= report.frames_read <= 8  # the first picture, the caption's coming and going, the cut
    assert world.tools["ocr"].read_pictures <= 2 * report.frames_read


def test_an_interrupted_run_goes_on_where_it_stopped(world: World) -> None:
    ears = world.tools["asr"] = Ears(fails_at=130)
    transport = InProcess(world.tools)
    indexer = Indexer(world.library, transport, world.manifests, settings=SETTINGS, fingerprint="one")
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(indexer.index(world.video_id))
    assert not indexer.indexed(world.video_id)
    assert world.library.get(world.video_id).indexed_kinds == ()
    first = list(ears.heard)
    report = asyncio.run(indexer.index(world.video_id))
    assert report.clips["speech"] == 3
    assert not set(first) & set(ears.heard[len(first) :])  # nothing is heard twice
    assert indexer.indexed(world.video_id)


def test_another_fingerprint_replaces_the_index(world: World) -> None:
    asyncio.run(world.indexer.index(world.video_id))
    transport = InProcess({**world.tools, "asr": Ears()})
    other = Indexer(world.library, transport, world.manifests, settings=SETTINGS, fingerprint="two")
    assert not other.indexed(world.video_id)
    # What only the older profile saw must not stay beside what the newer one sees.
    stale = Evidence.make(
        video_id=world.video_id, kind="speech", span=Span.of(3, 4), text="misheard", score=1, tool="listen", model="old"
    )
    world.clips[stale.id] = stale
    asyncio.run(other.index(world.video_id))
    assert other.indexed(world.video_id)
    assert stale.id not in world.clips
    assert world.clips


def test_removing_leaves_nothing(world: World) -> None:
    asyncio.run(world.indexer.index(world.video_id))
    asyncio.run(world.indexer.remove(world.video_id))
    assert world.clips == {}
    assert world.library.get(world.video_id).indexed_kinds == ()
    assert not world.indexer.indexed(world.video_id)


def test_a_profile_without_ears_says_so(world: World, tmp_path: Path) -> None:
    tools = {name: tool for name, tool in world.tools.items() if name != "asr"}
    indexer = Indexer(world.library, InProcess(tools), tmp_path / "other", settings=SETTINGS, fingerprint="one")
    report = asyncio.run(indexer.index(world.video_id))
    assert any("ASR" in note for note in report.notes)
    assert "speech" not in report.clips
    assert report.video.indexed_kinds == ("text",)


def test_progress_reaches_the_end_of_both_passes(world: World) -> None:
    seen: list[Progress] = []
    asyncio.run(world.indexer.index(world.video_id, seen.append))
    for stage in ("speech", "pictures"):
        seconds = [one.seconds for one in seen if one.stage == stage]
        assert seconds == sorted(seconds)
        assert seconds[-1] == seen[0].total


def test_a_place_grows_to_the_lines_that_it_touches() -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    changed = Sample(1.0, 2.0, image, False, 0.5, (Region.of(0.5, 0.5, 0.52, 0.55),))
    line = TextLine("score 1", Region.of(0.1, 0.48, 0.51, 0.58), 1.0)
    far = TextLine("title", Region.of(0.1, 0.0, 0.5, 0.1), 1.0)
    places = reading_places(changed, [line, far])
    assert places is not None
    assert len(places) == 1
    assert places[0].hull(line.region) == places[0]
    assert places[0].intersect(far.region) is None


def test_a_cut_or_a_large_change_is_read_whole() -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    assert reading_places(Sample(1.0, 2.0, image, True, 0.5, (Region.of(0, 0, 0.1, 0.1),)), []) is None
    assert reading_places(Sample(1.0, 2.0, image, False, 0.5, (Region.of(0, 0, 1, 0.9),)), []) is None
