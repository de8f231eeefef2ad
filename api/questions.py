"""From command line options to a question, with errors that name the option."""

from collections.abc import Sequence

from pydantic import ValidationError

from agents.question import Question
from tools.errors import BadInput
from tools.evidence import Scope
from tools.media.span import Span

_OPTIONS = {"text": "QUESTION", "options": "--option", "scope": "--span", "strategy": "--strategy"}


def make_question(
    text: str,
    *,
    options: Sequence[str] = (),
    video_ids: Sequence[str] = (),
    span: str | None = None,
    strategy: str | None = None,
    budget: dict[str, float | int | None] | None = None,
) -> Question:
    """The question.

    Args:
        budget: limits by name; None leaves the default.

    Raises:
        BadInput: a value that cannot be used; its field is the option.
    """
    if not text.strip():
        raise BadInput("the question is empty", remedy="ask something", field="QUESTION")
    scope = Scope(video_ids=tuple(video_ids), span=Span.parse(span) if span else None)
    limits = {key: value for key, value in (budget or {}).items() if value is not None}
    members = {"text": text, "options": tuple(options), "scope": scope, "budget": limits}
    if strategy is not None:
        members["strategy"] = strategy
    try:
        return Question.model_validate(members)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [str(part) for part in first["loc"]]
        if place[0] == "budget" and len(place) > 1:
            option = f"--budget-{place[1].replace('_', '-')}"
        else:
            option = _OPTIONS.get(place[0], place[0])
        message = first["msg"].removeprefix("Value error, ")
        raise BadInput(
            f"{option}: {message[:1].lower()}{message[1:]}", remedy="give another value", field=option
        ) from error
