"""What comes in: a question, where to look, and what may be spent."""

from pydantic import BaseModel, ConfigDict, Field

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
