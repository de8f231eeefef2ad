"""A service in this process over small tools: real video files, an index of plain words in memory."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient

from agents.loupe import Loupe
from api.app import create_app
from configs.profile import Api, Profile
from tools.asr import Utterance, Word
from tools.errors import ToolUnavailable
from tools.evidence import Evidence, Scope
from tools.media.library import Library
from tools.media.span import Span
from tools.media.tool import MediaTool
from tools.store import Clip, Query
from tools.transport import InProcess

SENTENCE = "the bridge was opened in nineteen fifty"


class WordStore:
    """Clips in a dictionary, ranked by how many words of the query they hold."""

    def __init__(self) -> None:
        self.clips: dict[str, Evidence] = {}
        self.closed = False

    def upsert(self, clips: Sequence[Clip]) -> None:
        self.clips.update({clip.evidence.id: clip.evidence for clip in clips})

    def query(self, query: Query) -> list[Evidence]:
        words = set(query.text.lower().split())
        scored = [(len(words & set(clip.text.lower().split())), clip) for clip in self.list(query.scope)]
        ranked = sorted((pair for pair in scored if pair[0]), key=lambda pair: -pair[0])
        return [clip.model_copy(update={"score": 1.0}) for _, clip in ranked[: query.limit]]

    def list(self, scope: Scope, limit: int = 1000) -> list[Evidence]:
        found = [
            clip
            for clip in self.clips.values()
            if (not scope.video_ids or clip.video_id in scope.video_ids)
            and (scope.span is None or clip.span.overlaps(scope.span))
            and (not scope.kinds or clip.kind in scope.kinds)
        ]
        return sorted(found, key=lambda clip: (clip.video_id, clip.span.start, clip.id))[:limit]

    def delete_video(self, video_id: str) -> int:
        gone = [id_ for id_, clip in self.clips.items() if clip.video_id == video_id]
        for id_ in gone:
            del self.clips[id_]
        return len(gone)


class Vectors:
    """Vectors that say nothing."""

    def texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.ones((len(texts), 4), np.float32)

    def has_visual(self) -> bool:
        return False

    def visual_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.zeros((0, 4), np.float32)


class Ears:
    """Hears one sentence in every video. ``gate`` holds it back, ``fault`` is raised instead."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None

    def model_of(self, video_id: str) -> str:
        return "ears"

    def utterances(self, video_id: str, span: Span) -> list[Utterance]:
        if not self.gate.wait(20):
            raise ToolUnavailable("nobody opened the gate", remedy="open it")
        if self.fault is not None:
            raise self.fault
        words = SENTENCE.split()
        length = 0.2
        return [
            Utterance(
                tuple(
                    Word(word, Span.of(0.3 + i * length, 0.3 + (i + 1) * length), 0.9) for i, word in enumerate(words)
                )
            )
        ]

    transcribe = utterances


def write_video(path: Path, *, seconds: float = 3.0, audio: bool = True, shade: int = 0) -> Path:
    """A small H.264 file with a grey ramp and, if wanted, quiet sound."""
    with av.open(str(path), "w") as file:
        pictures = file.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = file.add_stream("aac", rate=16_000, layout="mono") if audio else None
        for i in range(int(seconds * 10)):
            image = np.full((48, 64, 3), (shade + 3 * i) % 256, np.uint8)
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(pictures.encode())
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, int(seconds * 16_000)), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = 16_000
            file.mux(sound.encode(frame))
            file.mux(sound.encode())
    return path


class Bench:
    """A service under test, and what it stands on."""

    def __init__(self, tmp: Path, **settings: Any) -> None:
        self.home = tmp / "home"
        self.root = tmp / "media"
        self.root.mkdir()
        self.ears = Ears()
        self.store = WordStore()
        tools: dict[str, object] = {
            "media": MediaTool(Library(self.home)),
            "asr": self.ears,
            "store": self.store,
            "embed": Vectors(),
        }
        self.settings = Api(roots=(str(self.root),), **settings)
        self.profile = Profile(name="test", api=self.settings)
        self.loupe = Loupe.open(self.profile, self.home, InProcess(tools))
        self.app = create_app(self.loupe, self.settings)

    def files(self) -> set[str]:
        """What lies in the data directory that a failed request must not leave behind."""
        folders = [self.home / "uploads", self.home / "videos"]
        return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def client(bench: Bench) -> Iterator[TestClient]:
    with TestClient(bench.app, raise_server_exceptions=False) as client:
        yield client
        bench.ears.gate.set()


@pytest.fixture
def video(bench: Bench) -> Path:
    return write_video(bench.root / "talk.mp4")


@pytest.fixture
def indexed(client: TestClient, video: Path) -> str:
    """The id of a video that can be searched."""
    return add(client, video)


def add(client: TestClient, path: Path) -> str:
    """Registers a file and waits until it is indexed."""
    reply = client.post("/v1/videos", json={"uri": str(path)})
    assert reply.status_code == 202, reply.text
    job = wait(client, reply.json()["job"]["id"])
    assert job["status"] == "done", job
    return str(reply.json()["video"]["id"])


def wait(client: TestClient, job_id: str) -> dict[str, Any]:
    """The job once it has ended."""
    deadline = time.monotonic() + 30
    while True:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
        if job["status"] not in ("queued", "running"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.02)


def events(text: str) -> list[tuple[str, str | None, str]]:
    """Server-sent events as (name, id, data)."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("event", "message"), fields.get("id"), fields["data"]))
    return found


def run(coroutine: Any) -> Any:
    """Runs a coroutine to its end."""
    return asyncio.run(coroutine)
