"""A chat model as reasoner: it plans, chooses and writes; where it fails, the rules take over for that step."""

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from langchain_core.language_models import BaseChatModel

from agents.chat import menu as menus
from agents.chat.client import Outcome, Structured, ask, open_ai_model
from agents.chat.menu import Menu
from agents.chat.prompts import hashes, prompt
from agents.chat.replies import (
    MAX_ACTIONS,
    AnswerReply,
    DecideReply,
    PlanReply,
    to_actions,
    to_draft,
    to_sub_questions,
)
from agents.question import MAX_QUESTION, Budget, Question
from agents.reasoner import Decision, Plan, Reasoner
from agents.reasoners.rules import RuleReasoner
from agents.rules.clock import take_times
from agents.state import Draft, State
from tools.errors import ProfileError
from tools.evidence import Cost
from tools.media.video import Video

_TOOLS = ("search", "listen", "read", "detect", "look")
#: Share of the time left that one call may take, so that a slow model cannot use up a question's time by itself.
_SHARE = 0.25
#: The answer is the last call.
_ANSWER_SHARE = 0.5
#: Shortest time in seconds that a call is given.
_LEAST = 0.5

T = TypeVar("T", Plan, Decision, Draft)


class ChatReasoner(Reasoner):
    """Plans, decides and answers with any LangChain chat model.

    The model picks evidence and segments by name and never writes a time. A reply that cannot be used is sent back
    once with the reason; if it fails again, comes too late or not at all, `RuleReasoner` does that step, and the
    result's note says so.

    Args:
        model: name of a model behind ``base_url``, or a LangChain chat model, which then brings its own address, key
            and temperature.
        base_url: OpenAI-compatible address, e.g. ``http://127.0.0.1:8001/v1``; None is OpenAI itself.
        api_key_env: environment variable that holds the key; an address of one's own needs none.
        temperature: 0 is the most repeatable.
        timeout_s: longest time in seconds for one reply with retries and repair; a question's own time limit may make
            it shorter.
        max_retries: attempts after a dropped connection or a server error.
        structured: how the form of replies is enforced: json_schema, function_calling, json_mode, or none, for servers
            that know none of these.

    Raises:
        ProfileError: OpenAI itself is meant and there is no key, or an option has a value that it cannot have.
    """

    def __init__(
        self,
        model: str | BaseChatModel,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        temperature: float = 0.0,
        timeout_s: float = 60.0,
        max_retries: int = 2,
        structured: Structured = "json_schema",
    ) -> None:
        if timeout_s <= 0:
            raise ProfileError(
                f"timeout_s is {timeout_s:g}", remedy="give a number of seconds above 0", field="timeout_s"
            )
        if structured not in ("json_schema", "function_calling", "json_mode", "none"):
            raise ProfileError(
                f"structured is '{structured}'",
                remedy="use json_schema, function_calling, json_mode or none",
                field="structured",
            )
        self._rules = RuleReasoner()
        self._timeout_s = timeout_s
        self._structured = structured
        if isinstance(model, BaseChatModel):
            self._chat = model
            self.model = str(getattr(model, "model_name", type(model).__name__))
            return
        self.model = model
        key = os.environ.get(api_key_env)
        if not key and base_url is None:
            raise ProfileError(
                f"the chat model '{model}' needs a key, and {api_key_env} is not set",
                remedy=f"export {api_key_env}, or give base_url for a server of your own",
                field="api_key_env",
            )
        self._chat = open_ai_model(
            model,
            base_url=base_url,
            api_key=key or "none",
            temperature=temperature,
            timeout_s=timeout_s,
            max_retries=max_retries,
        )

    def prompts(self) -> Mapping[str, str]:
        """SHA-256 of every prompt by name."""
        return hashes()

    async def plan(self, question: Question, videos: Sequence[Video]) -> Plan:
        """Splits the question; the times that it names are found by the rules and picked by the model."""
        _, terms = take_times(question.text)
        clocks = {f"t{i}": term for i, term in enumerate(dict.fromkeys(terms), 1)}
        text = prompt("plan").render(
            question=menus.shorten(question.text, MAX_QUESTION),
            options=menus.option_lines(question.options),
            videos=menus.video_lines(videos),
            times="\n".join(f"- {name}: {anchor}" for name, anchor in clocks.items()) or "- none",
        )
        outcome = await ask(
            self._chat,
            text,
            PlanReply,
            lambda reply: Plan(sub_questions=to_sub_questions(reply, clocks)),
            structured=self._structured,
            timeout_s=self._limit(question.budget, Cost(), _SHARE),
        )
        if outcome.value is None:
            return _taken_over(outcome, await self._rules.plan(question, videos))
        return _accepted(outcome, outcome.value)

    async def decide(self, state: State) -> Decision:
        """Chooses actions from the menu of segments."""
        menu = Menu.of(state)
        text = prompt("decide").render(
            question=menus.shorten(state.question.text, MAX_QUESTION),
            options=menus.option_lines(state.question.options),
            parts=menus.part_lines(state),
            draft=menus.shorten(state.draft.text) or "nothing yet",
            evidence=menu.evidence_lines(),
            segments=menu.segment_lines(),
            done=menus.done_lines(state),
            tools=", ".join(tool for tool in _TOOLS if tool not in state.missing),
            budget=_left(state),
            max_actions=str(MAX_ACTIONS),
        )
        outcome = await ask(
            self._chat,
            text,
            DecideReply,
            lambda reply: Decision(actions=to_actions(reply, menu, state)),
            structured=self._structured,
            timeout_s=self._limit(state.question.budget, state.cost, _SHARE),
        )
        if outcome.value is None:
            return _taken_over(outcome, await self._rules.decide(state))
        return _accepted(outcome, outcome.value)

    async def answer(self, state: State) -> Draft:
        """Writes the answer; without any evidence there is nothing to ask the model about."""
        menu = Menu.of(state)
        if not menu.evidence:
            return await self._rules.answer(state)
        text = prompt("answer").render(
            question=menus.shorten(state.question.text, MAX_QUESTION),
            options=menus.option_lines(state.question.options),
            parts=menus.part_lines(state),
            evidence=menu.evidence_lines(),
        )
        parts = [part.id for part in state.sub_questions]
        outcome = await ask(
            self._chat,
            text,
            AnswerReply,
            lambda reply: to_draft(reply, menu, state.question, parts),
            structured=self._structured,
            timeout_s=self._limit(state.question.budget, state.cost, _ANSWER_SHARE),
        )
        if outcome.value is None:
            return _taken_over(outcome, await self._rules.answer(state))
        return _accepted(outcome, outcome.value)

    def _limit(self, budget: Budget, spent: Cost, share: float) -> float:
        if budget.seconds is None:
            return self._timeout_s
        return min(self._timeout_s, max(_LEAST, (budget.seconds - spent.seconds) * share))


def _accepted(outcome: Outcome[T], value: T) -> T:
    """The model's result with what it cost."""
    return value.model_copy(update={"cost": outcome.cost, "note": outcome.note})


def _taken_over(outcome: Outcome[T], value: T) -> T:
    """The rules' result with what the model cost in vain, and why it failed."""
    note = f"{outcome.note}; the rules took over for this step"
    return value.model_copy(update={"cost": value.cost + outcome.cost, "note": note})


def _left(state: State) -> str:
    """What the budget still allows, in words."""
    budget, cost = state.question.budget, state.cost
    left = {
        "steps": (budget.steps, cost.steps),
        "pictures": (budget.frames, cost.frames_decoded),
        "seconds": (budget.seconds, cost.seconds),
    }
    words = [f"{max(0, int(limit - spent))} {name}" for name, (limit, spent) in left.items() if limit is not None]
    return ", ".join(words) or "no limit"
