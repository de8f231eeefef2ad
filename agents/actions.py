"""What an agent can do next: one frozen record an action, told apart by ``kind``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tools.evidence import Scope
from tools.media.view import View


class _Action(BaseModel):
    """What all actions share.

    Attributes:
        sub_question: id of the sub-question that it serves, "" for the whole question.
        reason: why, one clause for the trace.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sub_question: str = ""
    reason: str = ""


class _Looking(_Action):
    """An action that perceives a view; ``parent`` is the id of the view that it zooms into, None for a first look."""

    view: View
    parent: str | None = None


class Search(_Action):
    """Asks the index for clips; an empty query lists the clips in scope in order of time."""

    kind: Literal["search"] = "search"
    query: str = ""
    scope: Scope = Scope()
    limit: int = Field(default=10, ge=1, le=1000)


class Listen(_Looking):
    """Hears what is said in the view's span."""

    kind: Literal["listen"] = "listen"


class Read(_Looking):
    """Reads what is written in the view."""

    kind: Literal["read"] = "read"


class Detect(_Looking):
    """Finds things in the view; no labels means all that the detectors know."""

    kind: Literal["detect"] = "detect"
    labels: tuple[str, ...] = ()


class Look(_Looking):
    """Asks a vision-language model about the view."""

    kind: Literal["look"] = "look"
    question: str
    method: str | None = None


class Finish(_Action):
    """Ends the looking; the answer is written from what is there."""

    kind: Literal["finish"] = "finish"


Action = Annotated[Search | Listen | Read | Detect | Look | Finish, Field(discriminator="kind")]
#: The actions that call a tool.
Perceiving = Search | Listen | Read | Detect | Look
#: The actions that look at a view.
Looking = Listen | Read | Detect | Look


def key(action: Search | Listen | Read | Detect | Look | Finish) -> str:
    """Identity of an action without its reason: equal keys would observe the same again."""
    return action.model_dump_json(exclude={"reason", "parent", "sub_question"})
