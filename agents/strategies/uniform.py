"""One look at frames spread evenly over the video: what a vision-language model does without an agent."""

from dataclasses import replace
from functools import partial
from typing import Any

from langgraph.graph import END

from agents.actions import Look
from agents.graph import Nodes
from agents.rules.judge import bounds
from agents.state import State
from agents.strategy import Graph, Strategy, chain
from tools.media.view import View

#: Frames of the look where the budget does not limit them.
FRAMES = 32
#: Short side of their pictures in pixels.
SHORT_SIDE = 360


class Uniform(Strategy):
    """plan, one look at as many frames as the budget pays for, judge, answer.

    The answer is not checked: to look at all the frames once more would tell the same.
    """

    def build(self, graph: Graph, nodes: Nodes) -> None:
        """No loop, no search."""
        graph.add_node("plan", nodes.plan)
        graph.add_node("spread", partial(_spread, nodes))
        graph.add_node("judge", nodes.judge)
        graph.add_node("answer", nodes.answer)
        chain(graph, "start", "plan", "spread", "judge", "answer")
        graph.add_edge("answer", END)


async def _spread(nodes: Nodes, state: State) -> dict[str, Any]:
    """One look at each video in scope, whatever part of it the question names."""
    limit = state.question.budget.frames
    frames = FRAMES if limit is None else max(limit, 1)
    part = state.sub_questions[-1]
    looks = [
        Look(
            view=View(video_id=video_id, span=span, fps=frames / span.duration, short_side=SHORT_SIDE),
            question=part.text,
            sub_question=part.id,
            reason=f"look at {frames} frames spread evenly",
        )
        for video_id, span in bounds(state).items()
        if span.duration > 0
    ]
    payable, _ = nodes.run.meter.affordable(looks, state.cost, answering=True)
    return await nodes.perceive(replace(state, actions=tuple(payable)))
