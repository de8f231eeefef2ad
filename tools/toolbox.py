"""The five verbs of perception, over any transport."""

from collections.abc import Sequence
from typing import Protocol

from tools.evidence import Observation, Scope
from tools.media.video import Video
from tools.media.view import View


class Toolbox(Protocol):
    """What an agent can do. All verbs return evidence with its cost; a tool that the profile lacks raises
    `ToolUnavailable`, except ``look``, whose observation then has a note and no evidence."""

    async def videos(self, scope: Scope) -> list[Video]:
        """The videos in scope, all for an empty scope; raises `NotFound` for an unknown id."""
        ...

    async def search(self, query: str, scope: Scope, limit: int = 10) -> Observation:
        """Clips of the index, best first; with an empty query those in scope in order of time."""
        ...

    async def listen(self, view: View) -> Observation:
        """What is said in the view's span: speech evidence, an utterance each."""
        ...

    async def read(self, view: View) -> Observation:
        """What is written on screen: text evidence, a track each."""
        ...

    async def detect(self, view: View, labels: Sequence[str] = ()) -> Observation:
        """Which things are visible: object evidence, a track each."""
        ...

    async def look(self, view: View, question: str, method: str | None = None) -> Observation:
        """A vision-language model's answer to ``question`` about the view: visual evidence."""
        ...
