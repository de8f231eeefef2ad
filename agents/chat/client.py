"""One question to a chat model: structured, repaired once, never longer than it may take, never an exception."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeVar

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr, ValidationError

from agents.chat.prompts import prompt
from agents.chat.replies import ReplyError
from tools.evidence import Cost

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")

#: How the form of the reply is enforced; "none" leaves it to the prompt.
Structured = Literal["json_schema", "function_calling", "json_mode", "none"]

_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
#: Characters of a model's or library's error that a note quotes.
_MAX_REASON = 200


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What came of a question: ``value`` None means that the model gave nothing usable, and ``note`` says why."""

    value: R | None
    cost: Cost
    note: str | None


def open_ai_model(
    model: str, *, base_url: str | None, api_key: str, temperature: float, timeout_s: float, max_retries: int
) -> ChatOpenAI:
    """A model behind an OpenAI-compatible address.

    Connections are closed after each reply: a kept one would belong to the event loop that opened it, and one
    reasoner serves many loops. The price is a handshake a call.
    """
    return ChatOpenAI(
        model=model,
        base_url=base_url,
        api_key=SecretStr(api_key),
        temperature=temperature,
        timeout=timeout_s,
        max_retries=max_retries,
        use_responses_api=False,
        http_async_client=httpx.AsyncClient(timeout=timeout_s, limits=httpx.Limits(max_keepalive_connections=0)),
    )


async def ask(
    chat: BaseChatModel,
    text: str,
    form: type[M],
    use: Callable[[M], R],
    *,
    structured: Structured,
    timeout_s: float,
) -> Outcome[R]:
    """Asks for a reply of ``form`` and makes a value of it with ``use``.

    A reply that does not parse, or that ``use`` refuses with `ReplyError`, is sent back once with the reason. Nothing
    that the model or its server does raises.

    Args:
        timeout_s: for everything together: retries and repair included.
    """
    messages: list[BaseMessage] = [SystemMessage(prompt("system").text), HumanMessage(text)]
    spent = Cost()
    refused = None
    try:
        runnable = _bind(chat, form, structured)
        async with asyncio.timeout(timeout_s):
            for _ in range(2):
                message = await _invoke(runnable, messages)
                spent += _usage(message)
                try:
                    value = use(form.model_validate(_json_of(message)))
                except (ReplyError, ValidationError) as error:
                    refused = _reason(error)
                    repair = HumanMessage(prompt("repair").render(error=refused))
                    messages = [*messages, AIMessage(_text_of(message) or "(empty)"), repair]
                    continue
                return Outcome(value, spent, f"the chat model's reply was repaired: {refused}" if refused else None)
    except TimeoutError:
        return Outcome(None, spent, f"the chat model did not reply within {timeout_s:.3g} s")
    except Exception as error:  # noqa: BLE001 - any library may stand behind a chat model; the question goes on without it
        return Outcome(None, spent, f"the chat model could not be asked: {_reason(error)}")
    return Outcome(None, spent, f"the chat model's reply could not be used, nor the repaired one: {refused}")


def _bind(chat: BaseChatModel, form: type[BaseModel], structured: Structured) -> Runnable[Any, Any]:
    """The model made to reply in a form. The schema goes in as a dictionary, so that the raw reply always comes back
    and is judged here, whatever the library's own parser thinks of it."""
    if structured == "none":
        return chat
    if isinstance(chat, ChatOpenAI):
        return chat.with_structured_output(_schema(form), method=structured, include_raw=True)
    try:
        return chat.with_structured_output(_schema(form), include_raw=True)
    except NotImplementedError:  # the model has no such thing; the prompt describes the form as well
        return chat


@cache
def _schema(form: type[BaseModel]) -> dict[str, Any]:
    return form.model_json_schema()


async def _invoke(runnable: Runnable[Any, Any], messages: Sequence[BaseMessage]) -> AIMessage:
    result = await runnable.ainvoke(list(messages))
    message = result["raw"] if isinstance(result, dict) else result
    if not isinstance(message, AIMessage):
        raise TypeError(f"it returned {type(message).__name__} where a message was due")
    return message


def _usage(message: AIMessage) -> Cost:
    """Tokens as the server counted them; 0 where it does not say."""
    usage = message.usage_metadata
    return Cost(llm_tokens_in=usage["input_tokens"], llm_tokens_out=usage["output_tokens"]) if usage else Cost()


def _json_of(message: AIMessage) -> Any:
    """The JSON object in the reply: a tool's arguments, the text, or the first object in it (after any thinking)."""
    if message.tool_calls:
        return message.tool_calls[0]["args"]
    text = _THOUGHT.sub("", _text_of(message))
    start = text.find("{")
    if start < 0:
        raise ReplyError("there is no JSON object in it")
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start:])
    except json.JSONDecodeError as error:
        raise ReplyError(f"it is not valid JSON: {error.msg} at character {error.pos}") from error
    return value


def _text_of(message: AIMessage) -> str:
    if message.tool_calls:
        return json.dumps(message.tool_calls[0]["args"])
    return str(message.text)


def _reason(error: Exception) -> str:
    """The error in one line, short enough for a note and for the model."""
    if isinstance(error, ValidationError):
        wrong = [f"{'.'.join(map(str, item['loc'])) or 'reply'}: {item['msg']}" for item in error.errors()[:3]]
        text = "; ".join(wrong)
    else:
        text = str(error) or type(error).__name__
    text = " ".join(text.split())
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 1] + "…"
