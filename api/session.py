"""What a command works on: this process's own tools, or the service that holds the data directory."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from agents.answer import Answer
from agents.question import Question
from api.client import Client, running
from api.schemas import LookRequest
from tools.errors import NotFound
from tools.evidence import Evidence, Observation, Scope
from tools.media.video import Video
from tools.media.view import View

if TYPE_CHECKING:
    from agents.loupe import Loupe
    from configs import Profile

#: Told about progress: which pass, seconds done, seconds in all.
OnProgress = Callable[[str, float, float], None]
#: Told about a step of the agent, with the members of its event.
OnStep = Callable[[dict[str, Any]], None]


class Session(AbstractContextManager["Session"], Protocol):
    """The verbs of the command line."""

    def find(self, path_or_id: str) -> Video:
        """A registered video, or a file, registered."""
        ...

    def indexed(self, video_id: str) -> bool:
        """Whether a video can be searched."""
        ...

    def index(self, video: Video, on_progress: OnProgress) -> dict[str, Any]:
        """Makes a video searchable; clips by kind, realtime and notes."""
        ...

    def ask(self, question: Question, on_step: OnStep) -> Answer:
        """The answer."""
        ...

    def search(self, query: str, scope: Scope, limit: int) -> list[Evidence]:
        """What the index holds, best first."""
        ...

    def look(self, view: View, question: str, method: str | None, pictures: int) -> Observation:
        """What a vision-language model says about a view, with at most so many pictures of it."""
        ...

    def videos(self) -> list[Video]:
        """All registered videos."""
        ...


class Local:
    """Tools of this process."""

    def __init__(self, loupe: "Loupe") -> None:
        self._loupe = loupe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._loupe.close()

    def find(self, path_or_id: str) -> Video:
        """A registered video, or a file, registered."""
        return self._loupe.find(path_or_id)

    def indexed(self, video_id: str) -> bool:
        """Whether a video can be searched."""
        return self._loupe.indexer.indexed(video_id)

    def index(self, video: Video, on_progress: OnProgress) -> dict[str, Any]:
        """Makes a video searchable."""
        index = self._loupe.indexer.index
        report = asyncio.run(index(video.id, lambda now: on_progress(now.stage, now.seconds, now.total)))
        return {"clips": report.clips, "realtime": report.realtime, "seconds": report.seconds, "notes": report.notes}

    def ask(self, question: Question, on_step: OnStep) -> Answer:
        """The answer."""

        async def follow() -> Answer:
            last: dict[str, Any] = {}
            async for event in self._loupe.stream(question):
                last = event.data
                on_step(event.model_dump(mode="json"))
            return Answer.model_validate(last["answer"])

        return asyncio.run(follow())

    def search(self, query: str, scope: Scope, limit: int) -> list[Evidence]:
        """What the index holds."""
        return list(asyncio.run(self._loupe.toolbox.search(query, scope, limit)).evidence)

    def look(self, view: View, question: str, method: str | None, pictures: int) -> Observation:
        """What a vision-language model says about a view."""
        return asyncio.run(self._loupe.look(view, question, method, pictures=pictures))

    def videos(self) -> list[Video]:
        """All registered videos."""
        return self._loupe.library.list()


class Remote:
    """A running service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client.close()

    def find(self, path_or_id: str) -> Video:
        """A registered video, or a file, registered or uploaded."""
        path = Path(path_or_id).expanduser()
        if path.is_file():
            return Video.model_validate(self._client.register(path.absolute(), index=False)["video"])
        matches = [video for video in self.videos() if video.id.startswith(path_or_id)]
        if len(matches) == 1:
            return matches[0]
        raise NotFound(
            f"'{path_or_id}' is neither a file nor {'one video only' if matches else 'a registered video'}",
            remedy="check the path, or give more of the id",
            field="video",
        )

    def indexed(self, video_id: str) -> bool:
        """Whether a video can be searched."""
        return bool(self._client.get(f"/v1/videos/{video_id}")["indexed"])

    def index(self, video: Video, on_progress: OnProgress) -> dict[str, Any]:
        """Makes a video searchable."""
        job = self._client.post(f"/v1/videos/{video.id}/index")["job"]
        if job is None:
            return {"clips": {}, "realtime": 0.0, "seconds": 0.0, "notes": ()}
        done = self._client.wait(job, lambda now: on_progress("indexing", now["seconds"], now["total"]))
        seconds = done["ended"] - done["started"]
        return {"clips": done["clips"], "realtime": done["realtime"], "seconds": seconds, "notes": done["notes"]}

    def ask(self, question: Question, on_step: OnStep) -> Answer:
        """The answer."""
        data: dict[str, Any] = {}
        for name, data in self._client.events(question.model_dump(mode="json")):
            if name != "answer":
                on_step(data)
        return Answer.model_validate(data)

    def search(self, query: str, scope: Scope, limit: int) -> list[Evidence]:
        """What the index holds."""
        body = {"query": query, "scope": scope.model_dump(mode="json"), "limit": limit}
        return [Evidence.model_validate(one) for one in self._client.post("/v1/search", json=body)["evidence"]]

    def look(self, view: View, question: str, method: str | None, pictures: int) -> Observation:
        """What a vision-language model says about a view."""
        wanted = LookRequest(view=view, question=question, method=method, pictures=pictures)
        body = wanted.model_dump(mode="json", exclude_none=True)
        return Observation.model_validate(self._client.post("/v1/look", json=body))

    def videos(self) -> list[Video]:
        """All registered videos."""
        return [Video.model_validate(one["video"]) for one in self._client.get("/v1/videos")]


def open_session(profile: "Profile", home: Path) -> Session:
    """The service that holds ``home`` if one runs, else tools of this process.

    Raises:
        StoreError: a service holds it but does not answer.
    """
    client = running(home, profile.api.tokens[0] if profile.api.tokens else None)
    if client is not None:
        return Remote(client)
    from agents.loupe import Loupe

    return Local(Loupe.open(profile, home))
