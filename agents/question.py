"""What comes in: a question, where to look, and what may be spent."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.errors import BadInput, did_you_mean
from tools.evidence import Cost, Scope

#: Longest question in characters.
MAX_QUESTION = 4000


class Budget(BaseModel):
    """Upper limits; None means no limit of that kind.

    Attributes:
        steps: looks of the agent (one step runs its tools in parallel); the last one is reserved for answering.
        frames: frames decoded.
        visual_tokens: visual tokens that enter a language model, after compression.
        llm_tokens: tokens in and out of the reasoner.
        seconds: wall-clock time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int | None = Field(default=12, ge=1)
    frames: int | None = Field(default=512, ge=0)
    visual_tokens: int | None = Field(default=None, ge=0)
    llm_tokens: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=120.0, gt=0)

    def exceeded_by(self, cost: Cost) -> str | None:
        """The name of the first limit that ``cost`` has reached, or None."""
        spent = {
            "steps": cost.steps,
            "frames": cost.frames_decoded,
            "visual_tokens": cost.visual_tokens_kept,
            "llm_tokens": cost.llm_tokens_in + cost.llm_tokens_out,
            "seconds": cost.seconds,
        }
        for name, value in spent.items():
            limit = getattr(self, name)
            if limit is not None and value >= limit:
                return name
        return None


class Question(BaseModel):
    """One question.

    Attributes:
        text: in plain words; times such as "at 2:10" are understood.
        options: for multiple choice, without their letters; the first is A.
        scope: the videos (and span) that are meant; empty means all indexed videos.
        budget: what may be spent.
        strategy: name of the graph that spends it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(min_length=1, max_length=MAX_QUESTION)
    options: tuple[str, ...] = Field(default=(), max_length=26)
    scope: Scope = Scope()
    budget: Budget = Budget()
    strategy: str = "zoom"

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Question":
        """The question that a request or a command line describes.

        Raises:
            BadInput: names the first field that cannot be used ("question", "options", "scope.span", "budget.steps",
                "strategy" ...) and what to write instead.
        """
        text = fields.get("text")
        try:
            return cls.model_validate({**fields, "text": text.strip()} if isinstance(text, str) else dict(fields))
        except ValidationError as error:
            raise _bad_input(error) from None


def _bad_input(error: ValidationError) -> BadInput:
    """The first thing that pydantic refuses, as a sentence for the one who wrote it."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    field = "question" if path == ["text"] else ".".join(path)
    kind, given, limits = first["type"], first["input"], first.get("ctx", {})
    if field == "question":
        if kind == "string_too_long":
            return BadInput(
                f"the question is {len(given)} characters long", remedy=f"ask in at most {MAX_QUESTION}", field=field
            )
        return BadInput("the question is empty", remedy="ask something in plain words", field=field)
    if kind == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"budget": Budget, "scope": Scope}
        known = models.get(path[0], Question) if len(path) > 1 else Question
        return BadInput(f"there is no field '{field}'", remedy=did_you_mean(path[-1], known.model_fields), field=field)
    if kind in ("greater_than", "greater_than_equal"):
        least = limits.get("gt", limits.get("ge"))
        word = "above" if kind == "greater_than" else "from"
        return BadInput(f"{field} is {given}", remedy=f"give a number {word} {least:g} on", field=field)
    if kind == "too_long":
        return BadInput(f"there are {len(given)} {field}", remedy=f"give at most {limits['max_length']}", field=field)
    says = str(first["msg"]).removeprefix("Value error, ")
    return BadInput(f"{field} cannot be used", remedy=says[:1].lower() + says[1:], field=field)
