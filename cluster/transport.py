"""Tools behind Ray Serve handles: the same calls as in process, on any node."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any

from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.serve.exceptions import RayServeException

from tools.errors import ToolUnavailable

#: What is raised when the process or the node that ran a call, or that held its result, is gone.
LOST = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)
#: Methods that must not run twice. All other methods of tools are idempotent: they read, or write by deterministic id.
ONCE = frozenset({"close"})


class PendingCall(Awaitable[Any]):
    """A call that is under way. Awaiting it gives the result; as an argument of another call it stands for the result,
    which then goes from replica to replica and never through this process.

    Args:
        send: starts the call and returns its Serve response; called again when a replica is lost.
        inputs: the pending calls among the arguments.
        tool, method: what is called.
        timeout_s: seconds that this call may take, without the time of its inputs.
        retries: how often a lost call is sent again.
    """

    def __init__(
        self,
        send: Callable[[], Any],
        inputs: tuple["PendingCall", ...],
        *,
        tool: str,
        method: str,
        timeout_s: float | None,
        retries: int,
    ) -> None:
        self._send = send
        self._inputs = inputs
        self._tool = tool
        self._method = method
        self._retries = 0 if method in ONCE else retries
        self._timeout_s = timeout_s
        self._generation = 0
        self.response = send()

    @property
    def patience(self) -> float | None:
        """Seconds that a caller waits: this call's own time-out and that of the slowest chain of inputs before it."""
        waits = [call.patience for call in self._inputs]
        if self._timeout_s is None or None in waits:
            return None
        return self._timeout_s + max((wait for wait in waits if wait is not None), default=0.0)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._settle().__await__()

    async def _settle(self) -> Any:
        for attempt in range(self._retries + 1):
            generation = self._generation
            try:
                return await asyncio.wait_for(_fetch(self.response), self.patience)
            except TimeoutError:
                raise ToolUnavailable(
                    f"the tool '{self._tool}' did not answer '{self._method}' within {self.patience:g} s",
                    remedy=f"try again, give it more replicas, or raise cluster.{self._tool}.timeout_s in the profile",
                ) from None
            except (RayError, RayServeException) as error:
                cause = _cause(error)
                if not isinstance(cause, RayError | RayServeException):
                    raise cause from None
                if not isinstance(cause, LOST) or attempt == self._retries:
                    raise self._down(cause) from error
                # An error wrapped in another came in with an argument: what was lost is an input.
                self._again(generation, with_inputs=cause is not error or isinstance(cause, ObjectLostError))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _again(self, generation: int, *, with_inputs: bool) -> None:
        """Sends the call again unless another waiter has done so since ``generation``."""
        if self._generation != generation:
            return
        if with_inputs:
            for call in self._inputs:
                call._again(call._generation, with_inputs=True)
        self._generation += 1
        self.response = self._send()

    def _down(self, cause: BaseException) -> ToolUnavailable:
        what = type(cause).__name__
        return ToolUnavailable(
            f"the tool '{self._tool}' is down ({what} during '{self._method}')",
            remedy="look at its log with `ray logs` or under the Ray session folder, then ask again",
        )


async def _fetch(response: Any) -> Any:
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise


def _cause(error: BaseException) -> BaseException:
    """What the tool itself raised, freed from the wrappers that Ray puts around it at each hop."""
    while True:
        inner = error.cause if isinstance(error, RayTaskError) else None
        if isinstance(error, RayServeException) and isinstance(error.__cause__, RayError):
            # The router found out that the call could not even begin, because an argument is lost.
            inner = error.__cause__
        if not isinstance(inner, BaseException):
            return error
        error = inner


class ServeTransport:
    """Calls tools through Serve handles.

    Args:
        handles: a `DeploymentHandle` of a `cluster.deployments.ToolHost` for each tool.
        timeouts: seconds that one call of a tool may take; None or absent means for ever.
        retries: how often a call is sent again when its replica is lost.
    """

    def __init__(
        self, handles: Mapping[str, Any], timeouts: Mapping[str, float | None] | None = None, *, retries: int = 2
    ) -> None:
        self._handles = dict(handles)
        self._timeouts = dict(timeouts or {})
        self._retries = retries

    def call(self, tool: str, method: str, /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Starts ``tool.method(*args, **kwargs)`` on a replica."""
        if tool not in self._handles:
            return _absent(tool)
        handle = self._handles[tool]

        def send() -> Any:
            positional = [value.response if isinstance(value, PendingCall) else value for value in args]
            named = {key: value.response if isinstance(value, PendingCall) else value for key, value in kwargs.items()}
            return handle.call.remote(method, *positional, **named)

        return PendingCall(
            send,
            tuple(value for value in (*args, *kwargs.values()) if isinstance(value, PendingCall)),
            tool=tool,
            method=method,
            timeout_s=self._timeouts.get(tool),
            retries=self._retries,
        )

    def tools(self) -> list[str]:
        """Names of the tools that can be called, sorted."""
        return sorted(self._handles)

    async def problems(self) -> dict[str, str]:
        """The tools that cannot be used now, each with the reason in a sentence."""

        async def ask(tool: str) -> str | None:
            try:
                reason: str | None = await asyncio.wait_for(_fetch(self._handles[tool].problem.remote()), 10.0)
            except TimeoutError:
                return f"the tool '{tool}' does not answer: wait for it to start or look at its log."
            except (RayError, RayServeException) as error:
                return f"the tool '{tool}' is down ({type(_cause(error)).__name__}): look at its log."
            return reason

        names = self.tools()
        reasons = await asyncio.gather(*(ask(name) for name in names))
        return {name: reason for name, reason in zip(names, reasons, strict=True) if reason}


def _absent(tool: str) -> Awaitable[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_exception(
        ToolUnavailable(f"this profile has no tool '{tool}'", remedy=f"name a backend under '{tool}' in the profile")
    )
    return future
