"""Several calls of one model as one: which calls can be joined, and how the result is taken apart again."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

#: Methods that turn a sequence of N inputs into N rows, each row independent of its neighbours, by tool.
ROW_METHODS: dict[str, frozenset[str]] = {"embed": frozenset({"texts", "images", "visual_texts"})}


@dataclass(frozen=True)
class Call:
    """One call as it arrives at a replica."""

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one call came to: a value, or the error that it raised."""

    value: Any = None
    error: Exception | None = None


def can_batch(tool_name: str, tool: object, method: str) -> bool:
    """Whether calls of ``method`` may be joined: row methods, and any method with a ``<method>_many`` beside it that
    takes a list of ``(args, kwargs)`` and returns a list of results, where an exception stands for its own call."""
    return method in ROW_METHODS.get(tool_name, frozenset()) or callable(getattr(tool, f"{method}_many", None))


def run_batch(tool_name: str, tool: object, calls: Sequence[Call]) -> list[Outcome]:
    """Runs calls, joined where they are alike, and returns their outcomes in order.

    A joined call that fails is run again call by call, so that a bad request spoils only itself.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, call in enumerate(calls):
        groups.setdefault(_kind(tool_name, call, place), []).append(place)
    outcomes: list[Outcome] = [Outcome()] * len(calls)
    for places in groups.values():
        for place, outcome in zip(places, _run_alike(tool_name, tool, [calls[i] for i in places]), strict=True):
            outcomes[place] = outcome
    return outcomes


def _kind(tool_name: str, call: Call, place: int) -> Hashable:
    """Calls of equal kind can be joined; a call that fits no scheme is of a kind of its own."""
    if call.method not in ROW_METHODS.get(tool_name, frozenset()):
        return call.method
    if len(call.args) != 1 or call.kwargs:
        return place
    rows = call.args[0]
    return (call.method, rows.shape[1:], str(rows.dtype)) if isinstance(rows, np.ndarray) else (call.method, "list")


def _run_alike(tool_name: str, tool: object, calls: Sequence[Call]) -> list[Outcome]:
    if len(calls) > 1:
        joined = _attempt(lambda: _join(tool_name, tool, calls))
        if joined.error is None:
            return [Outcome(error=value) if isinstance(value, Exception) else Outcome(value) for value in joined.value]
    return [_attempt(partial(getattr(tool, call.method), *call.args, **call.kwargs)) for call in calls]


def _join(tool_name: str, tool: object, calls: Sequence[Call]) -> list[Any]:
    method = calls[0].method
    if method not in ROW_METHODS.get(tool_name, frozenset()):
        results = list(getattr(tool, f"{method}_many")([(call.args, call.kwargs) for call in calls]))
        if len(results) != len(calls):
            raise RuntimeError(f"{tool_name}.{method}_many returned {len(results)} results for {len(calls)} calls")
        return results
    parts = [call.args[0] for call in calls]
    rows = np.concatenate(parts) if isinstance(parts[0], np.ndarray) else [row for part in parts for row in part]
    result = getattr(tool, method)(rows)
    ends = np.cumsum([len(part) for part in parts])
    if len(result) != ends[-1]:
        raise RuntimeError(f"{tool_name}.{method} returned {len(result)} rows for {ends[-1]}")
    return [result[end - len(part) : end] for part, end in zip(parts, ends, strict=True)]


def _attempt(run: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(run())
    except Exception as error:  # noqa: BLE001 - carried to the one caller whose request it was
        return Outcome(error=error)
