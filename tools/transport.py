"""How a tool is reached: in this process or on a cluster. The caller cannot tell which."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from tools.errors import ToolUnavailable


class Transport(Protocol):
    """Calls methods of tools by name.

    A call returns at once with something to await. That something may itself be an argument of the next call: then the
    result goes from tool to tool by reference and the caller never holds it (pixels stay out of the agent's process).
    """

    def call(self, tool: str, method: str, /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Starts ``tool.method(*args, **kwargs)``.

        Awaiting raises what the method raised, or `ToolUnavailable` where the tool is missing or does not answer.
        """
        ...

    def tools(self) -> list[str]:
        """Names of the tools that can be called, sorted."""
        ...


class InProcess:
    """Tools that are objects of this process; each call runs in a worker thread."""

    def __init__(self, tools: Mapping[str, object]) -> None:
        self._tools = dict(tools)

    def call(self, tool: str, method: str, /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Starts the call as a task of the running event loop."""
        return asyncio.ensure_future(self._run(tool, method, args, kwargs))

    def tools(self) -> list[str]:
        """Names of the tools that can be called, sorted."""
        return sorted(self._tools)

    def close(self) -> None:
        """Closes the tools that hold files or processes."""
        for tool in self._tools.values():
            if callable(close := getattr(tool, "close", None)):
                close()

    async def _run(self, tool: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if tool not in self._tools:
            raise ToolUnavailable(
                f"this profile has no tool '{tool}'", remedy=f"name a backend under '{tool}' in the profile"
            )
        args = tuple([await value if isinstance(value, asyncio.Future) else value for value in args])
        kwargs = {key: await value if isinstance(value, asyncio.Future) else value for key, value in kwargs.items()}
        return await asyncio.to_thread(getattr(self._tools[tool], method), *args, **kwargs)
