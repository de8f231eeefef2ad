"""Questions that run while somebody, or nobody, listens."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from agents.answer import Answer
from agents.events import Event
from agents.loupe import Loupe
from agents.question import Question
from api.problems import of_error

#: Seconds between two looks at a trace that another process writes.
POLL_S = 0.3


def void(_: object) -> None:
    """Takes a value that nobody needs."""


class Runs:
    """The questions under way. A run goes on when its listener leaves: its budget bounds it, its trace keeps what it
    finds, and the listener can come back to the trace."""

    def __init__(self, loupe: Loupe, on_answer: Callable[[Answer], None] = void) -> None:
        self._loupe = loupe
        self._on_answer = on_answer
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question) -> Answer:
        """The answer; whoever goes away meanwhile ends the run."""
        answer = await self._loupe.ask(question)
        self._on_answer(answer)
        return answer

    async def stream(self, question: Question) -> AsyncIterator[dict[str, Any]]:
        """The run as server-sent events: one a step, and exactly one last "answer" or "error".

        Raises:
            LoupeError: the question cannot be worked on, before the first event.
        """
        events = self._loupe.stream(question)
        # The first event is drawn here, so that a bad question is an HTTP error and not an event in a 200.
        first = await anext(events)
        queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

        async def run() -> None:
            try:
                queue.put_nowait(first)
                async for event in events:
                    queue.put_nowait(event)
            except Exception as error:  # noqa: BLE001 - becomes the final event
                queue.put_nowait(error)
            finally:
                queue.put_nowait(None)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self._messages(queue)

    async def follow(self, trace_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        """A trace from event ``after`` + 1 on, whether it is finished or still being written.

        Raises:
            NotFound, BadInput: there is no such trace, before the first event.
        """
        await asyncio.to_thread(self._loupe.traces.open, trace_id)
        return self._followed(trace_id, after)

    async def close(self) -> None:
        """Ends the runs under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _messages(self, queue: "asyncio.Queue[Event | Exception | None]") -> AsyncIterator[dict[str, Any]]:
        ended = False
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                yield error_message(of_error(item))
                ended = True
            elif item.node == "answer":
                answer = Answer.model_validate(item.data["answer"])
                self._on_answer(answer)
                yield answer_message(answer, item.n)
                ended = True
            else:
                yield step_message(item)
            if ended:
                return
        yield error_message(of_error(RuntimeError("the agent ended without an answer")))

    async def _followed(self, trace_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        while True:
            trace = await asyncio.to_thread(self._loupe.traces.open, trace_id)
            for event in trace.events:
                if event.n > after and event.node != "answer":
                    yield step_message(event)
                    after = event.n
            if trace.result is not None:
                yield answer_message(trace.result, trace.events[-1].n if trace.events else 0)
                return
            if trace.info.status != "running":
                reason = trace.info.error or "the process that ran it is gone"
                yield error_message(of_error(RuntimeError(f"trace {trace_id} {trace.info.status}: {reason}")))
                return
            await asyncio.sleep(POLL_S)


def step_message(event: Event) -> dict[str, Any]:
    """One step, named after the tool that was called or after the node of the graph."""
    return {"id": str(event.n), "event": event.tool or event.node, "data": event.model_dump_json()}


def answer_message(answer: Answer, n: int) -> dict[str, Any]:
    """The final event of a run that came to its end."""
    return {"id": str(n), "event": "answer", "data": answer.model_dump_json()}


def error_message(problem: dict[str, Any]) -> dict[str, Any]:
    """The final event of a run that did not."""
    return {"event": "error", "data": json.dumps(problem)}
