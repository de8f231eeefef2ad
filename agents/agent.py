"""The agent: a question in, events while it works, an answer with its proof at the end."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from agents.answer import Answer
from agents.budget import Meter
from agents.events import Event
from agents.finish import NOT_FOUND, assemble
from agents.graph import Nodes
from agents.question import Question
from agents.reasoner import Reasoner
from agents.run import Run, explain
from agents.state import Draft, State
from agents.strategy import STRATEGIES, Strategy
from agents.trace import TraceStore
from tools.errors import BadInput, NotFound, did_you_mean
from tools.evidence import Cost
from tools.media.span import format_time
from tools.media.video import Video
from tools.toolbox import Toolbox

_LOG = logging.getLogger(__name__)


class Agent:
    """Answers questions; serves many at the same time.

    Args:
        toolbox: how it perceives.
        reasoner: who thinks.
        traces: where everything that happens is written.
        profile_name: goes into the trace.
        clock: seconds that only grow, for the time limit.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        reasoner: Reasoner,
        traces: TraceStore,
        *,
        profile_name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._toolbox = toolbox
        self._reasoner = reasoner
        self._traces = traces
        self._profile = profile_name
        self._clock = clock

    async def ask(self, question: Question) -> Answer:
        """The answer.

        Raises:
            BadInput, NotFound: the question cannot be worked on (unknown strategy or video, a span outside the videos).
        """
        last: Event | None = None
        async for event in self.stream(question):
            last = event
        assert last is not None
        return Answer.model_validate(last.data["answer"])

    async def stream(self, question: Question) -> AsyncIterator[Event]:
        """The events of the trace as they happen. The last one, and only it, has the node "answer" and the answer under
        ``data["answer"]``. Leaving the stream early ends the run.

        Raises:
            BadInput, NotFound: as `ask`, before the first event.
        """
        meter = Meter(question.budget, self._clock)
        strategy = _strategy(question.strategy)
        videos = await self._videos(question)
        recorder = self._traces.create(
            question, self._profile, videos=videos, model=self._reasoner.model, prompts=self._reasoner.prompts()
        )
        events: asyncio.Queue[Event | None] = asyncio.Queue()

        def record(**fields: Any) -> Event:
            event = recorder.record(**fields)
            events.put_nowait(event)
            return event

        run = Run(question, self._reasoner, self._toolbox, record, meter, recorder.id)
        with recorder:

            async def work() -> None:
                try:
                    recorder.finish(await _answer(strategy, run, videos))
                finally:
                    events.put_nowait(None)

            task = asyncio.create_task(work())
            try:
                while (event := await events.get()) is not None:
                    if event.node == "answer":
                        # The run is marked as done before the reader learns the answer and may go looking for it.
                        await task
                    yield event
                await task
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _videos(self, question: Question) -> tuple[Video, ...]:
        """The videos in scope that the span, if there is one, touches."""
        videos = await self._toolbox.videos(question.scope)
        if not videos:
            raise NotFound(
                "there is no video to ask about", remedy="index one with 'loupe index FILE'", field="scope.video_ids"
            )
        span = question.scope.span
        if span is None:
            return tuple(videos)
        touched = tuple(video for video in videos if video.info.span.overlaps(span))
        if not touched:
            longest = max(videos, key=lambda video: video.info.span.end).info.span
            where = "the video" if len(videos) == 1 else f"all {len(videos)} videos"
            raise BadInput(
                f"the span {span} lies outside {where}",
                remedy=f"give one between {format_time(longest.start)} and {format_time(longest.end)}",
                field="scope.span",
            )
        return touched


def _strategy(name: str) -> Strategy:
    if name not in STRATEGIES:
        raise BadInput(
            f"there is no strategy called '{name}'", remedy=did_you_mean(name, STRATEGIES.names()), field="strategy"
        )
    return STRATEGIES.create(name)


async def _answer(strategy: Strategy, run: Run, videos: tuple[Video, ...]) -> Answer:
    """Runs the strategy's graph. Where a node fails, the answer is made from the best there was until then."""
    nodes = Nodes(run)
    state = State(question=run.question, videos=videos)
    try:
        async for values in strategy.compile(nodes).astream(state, strategy.config(run), stream_mode="values"):
            state = State(**values)
    except Exception as error:  # noqa: BLE001 - a finished part of an answer is never lost
        _LOG.exception("trace %s: the strategy '%s' failed", run.trace_id, run.question.strategy)
        note = f"the strategy '{run.question.strategy}' failed: {explain(error)}"
        state = _changed(state, stopped="exhausted", notes=(*state.notes, note))
    if state.answer is not None:
        return state.answer
    for node in (nodes.verify, nodes.answer):
        try:
            state = _changed(state, **await node(state))
        except Exception as error:  # noqa: BLE001 - as above
            _LOG.exception("trace %s: %s failed", run.trace_id, node.__name__)
            state = _changed(state, notes=(*state.notes, f"{node.__name__} failed: {explain(error)}"))
    return state.answer if state.answer is not None else _bare(run, state)


def _bare(run: Run, state: State) -> Answer:
    """The answer that says that there is none, for when even putting one together failed."""
    empty = State(question=state.question, videos=state.videos, searched=state.searched, notes=state.notes)
    cost = (state.cost + Cost(steps=1)).model_copy(update={"seconds": round(run.meter.elapsed(), 6)})
    answer = assemble(_changed(empty, draft=Draft()), trace_id=run.trace_id, cost=cost, stopped="exhausted")
    run.record(node="answer", step=cost.steps, cost=Cost(steps=1), data={"answer": answer}, note=NOT_FOUND)
    return answer


def _changed(state: State, **fields: Any) -> State:
    return State(**{**vars(state), **fields})
