"""Loupe in one object: register, index, search, look and ask, over tools in this process or on a cluster."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

from agents.agent import Agent
from agents.answer import Answer
from agents.question import Question
from agents.reasoner import REASONERS
from agents.trace import Event, TraceStore
from configs.build import build_tools, create
from configs.load import home_dir
from configs.profile import Profile
from tools.errors import BadInput, NotFound, ToolUnavailable
from tools.evidence import Observation
from tools.indexing.indexer import FORMAT, Indexer, IndexReport, OnProgress
from tools.media.library import Library
from tools.media.video import Video
from tools.media.view import View
from tools.packaged import weights
from tools.transport import InProcess, Transport
from tools.transport_toolbox import TransportToolbox

#: Shorter side in pixels of the pictures that a single look gives back.
SHEET_SIDE = 360


class Loupe:
    """What the command line and the HTTP service stand on.

    Attributes:
        library: registered videos.
        toolbox: the verbs of perception.
        indexer: makes videos searchable.
        traces: what was done for each question.
    """

    def __init__(self, profile: Profile, home: Path, transport: Transport) -> None:
        self.profile = profile
        self.home = home
        self.transport = transport
        self.library = Library(home)
        self.toolbox = TransportToolbox(transport)
        self.indexer = Indexer(
            self.library,
            transport,
            home / "index",
            settings=profile.index.model_dump(),
            fingerprint=index_fingerprint(profile),
        )
        self.traces = TraceStore(home / "traces")
        self.agent = Agent(
            self.toolbox,
            create(REASONERS, "reasoner", profile.reasoner),
            self.traces,
            profile_name=profile.name,
        )

    @classmethod
    def open(cls, profile: Profile, home: Path | None = None, transport: Transport | None = None) -> Self:
        """Loupe on the data directory ``home`` (default `home_dir`); without a transport the tools are built here,
        each at its first use."""
        home = home if home is not None else home_dir()
        home.mkdir(parents=True, exist_ok=True)
        if transport is None:
            transport = InProcess(build_tools(profile, Library(home), home))
        return cls(profile, home, transport)

    def find(self, path_or_id: str) -> Video:
        """The registered video with this id (or a unique beginning of it), or the file at this path, registered.

        Raises:
            NotFound: neither a video nor a file.
            MediaError: a file that is no video.
        """
        path = Path(path_or_id).expanduser()
        if not path.exists() and (matches := [v for v in self.library.list() if v.id.startswith(path_or_id)]):
            if len(matches) == 1:
                return matches[0]
            raise NotFound(
                f"'{path_or_id}' is the beginning of {len(matches)} video ids", remedy="give more of it", field="video"
            )
        return self.library.add(path)

    async def index(self, path_or_id: str, progress: OnProgress | None = None) -> IndexReport:
        """Registers a file if need be and makes it searchable; a video that already is costs nothing."""
        video = await asyncio.to_thread(self.find, path_or_id)
        return await self.indexer.index(video.id, progress)

    async def remove(self, video_id: str) -> None:
        """Forgets a video: its clips, its progress and, if it was uploaded, its bytes."""
        self.library.get(video_id)
        await self.indexer.remove(video_id)
        self.library.remove(video_id)

    async def look(self, view: View, question: str, method: str | None = None, *, pictures: int = 32) -> Observation:
        """One look at a view with the profile's vision-language model; nothing is indexed.

        Args:
            method: the compression to use instead of the profile's, see `tools.vlm.tool.VlmTool.look`.
            pictures: most pictures, with their heat maps, that come back.

        Raises:
            ToolUnavailable: the profile has no such model.
            BadInput: a view, question or method that cannot be used.
        """
        if not question.strip():
            raise BadInput("the question is empty", remedy="ask something", field="question")
        if "vlm" not in self.transport.tools():
            raise ToolUnavailable(
                f"profile '{self.profile.name}' has no vision-language model to look with",
                remedy="name one under 'vlm' in the profile, or take a profile that has one, e.g. --profile cpu",
                field="vlm",
            )
        return await self.toolbox.look(view, question, method, pictures=pictures, short_side=SHEET_SIDE)

    async def ask(self, question: Question) -> Answer:
        """The answer with its proof."""
        return await self.agent.ask(question)

    def stream(self, question: Question) -> AsyncIterator[Event]:
        """The agent's events while it works; the last one carries the answer."""
        return self.agent.stream(question)

    def close(self) -> None:
        """Lets go of the store's files and of worker processes; tools on a cluster stay as they are."""
        if isinstance(self.transport, InProcess):
            self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def index_fingerprint(profile: Profile) -> str:
    """What decides the content of an index: the same text means that it need not be made again."""
    parts = {"asr", "ocr", "detect", "text_embedding", "visual_embedding", "index"}
    content = profile.model_dump(mode="json", include=parts)
    # A packaged model keeps its name when it is trained anew, and vectors of the old and the new one do not compare.
    models = (part.get("model") for part in content.values() if isinstance(part, dict))
    learnt = {model: weights(model) for model in models if model}
    return json.dumps({**content, "format": FORMAT, "weights": learnt}, sort_keys=True)
