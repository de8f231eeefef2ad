"""The deployment that hosts any tool: one class for all of them."""

import asyncio
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve

from cluster.batching import Call, Outcome, can_batch, run_batch
from cluster.spec import ToolSpec
from tools.errors import LoupeError, StoreError, ToolUnavailable

#: A replica whose call runs this many times longer than callers wait is stuck and is replaced.
STUCK = 3.0
#: Seconds after which a tool that could not be built is tried again.
REBUILD_S = 5.0


class ToolHost:
    """A tool in a replica; its methods run in worker threads, as they do in process.

    A tool that can't be built (a model is missing, the store is still held by the replica that this one replaces)
    doesn't keep the service from starting: its calls raise the reason, and building is tried again from time to time.
    """

    def __init__(self, spec: ToolSpec) -> None:
        self._spec = spec
        self._tool: object | None = None
        self._reason: LoupeError | None = None
        self._tried = -REBUILD_S
        self._building = threading.Lock()
        self._running: dict[int, float] = {}
        self._numbers = itertools.count()
        self._threads = ThreadPoolExecutor(spec.max_ongoing_requests, thread_name_prefix=spec.name)

        async def batch_of_calls(calls: list[Call]) -> list[Outcome]:
            outcomes: list[Outcome] = await self._in_thread(lambda: run_batch(spec.name, self._get(), calls))
            return outcomes

        # No waiting for companions: while one batch runs the next one gathers, so an idle tool adds no delay.
        self._joined = serve.batch(max_batch_size=spec.max_batch, batch_wait_timeout_s=0.0)(batch_of_calls)

    async def call(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a method of the tool.

        Raises:
            ToolUnavailable: when the tool can't be built here.
        """
        tool = self._tool if self._tool is not None else await self._in_thread(self._get)
        if can_batch(self._spec.name, tool, method):
            outcome: Outcome = await self._joined(Call(method, args, kwargs))
            if outcome.error is not None:
                raise outcome.error
            return outcome.value
        return await self._in_thread(lambda: getattr(tool, method)(*args, **kwargs))

    async def problem(self) -> str | None:
        """Why the tool can't be used, in a sentence, or None when it can."""
        try:
            await self._in_thread(self._get)
        except LoupeError as error:
            return str(error)
        return None

    def check_health(self) -> None:
        """Raises when a call hangs or when the tool itself says that it is ill; Serve then replaces the replica."""
        limit = self._spec.timeout_s
        oldest = min(list(self._running.values()), default=None)
        if limit is not None and oldest is not None and time.monotonic() - oldest > STUCK * limit:
            raise RuntimeError(f"a call of '{self._spec.name}' has been running for more than {STUCK * limit:g} s")
        check = getattr(self._tool, "check_health", None)
        if callable(check):
            check()

    def __del__(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        close = getattr(self._tool, "close", None)
        if callable(close):
            close()

    def _get(self) -> object:
        with self._building:
            if self._tool is not None:
                return self._tool
            if self._reason is None or time.monotonic() - self._tried >= REBUILD_S:
                self._tried = time.monotonic()
                try:
                    self._tool = self._spec.build()
                except LoupeError as error:
                    self._reason = error
                else:
                    return self._tool
            raise _unavailable(self._spec.name, self._reason) from self._reason

    async def _in_thread(self, run: Any) -> Any:
        number = next(self._numbers)

        def watched() -> Any:
            # The thread goes on when its caller gives up, so the thread and not the caller keeps the record.
            self._running[number] = time.monotonic()
            try:
                return run()
            finally:
                del self._running[number]

        return await asyncio.get_running_loop().run_in_executor(self._threads, watched)


def _unavailable(name: str, reason: LoupeError) -> LoupeError:
    if isinstance(reason, ToolUnavailable | StoreError):
        return reason
    return ToolUnavailable(
        f"the tool '{name}' cannot run ({reason.message})", remedy=reason.remedy, field=reason.field or name
    )


def deployment(spec: ToolSpec) -> Any:
    """The tool as a bound Serve application, to be handed to the ingress that uses it."""
    return serve.deployment(**spec.options())(ToolHost).bind(spec)
