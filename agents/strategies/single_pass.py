"""Retrieval once, a look at the best clip for what only pictures tell, then the answer: the baseline that every other
strategy is held against."""

from dataclasses import replace
from functools import partial
from typing import Any

from langgraph.graph import END

from agents.actions import Look
from agents.graph import Nodes
from agents.state import State
from agents.strategy import Graph, Strategy, chain
from tools.media.view import View

#: Frames of the look, and their short side in pixels.
FRAMES, SHORT_SIDE = 8, 360


class SinglePass(Strategy):
    """plan, retrieve for all sub-questions at once, look, judge, verify, answer."""

    def build(self, graph: Graph, nodes: Nodes) -> None:
        """No loop: what the index knows must do."""
        graph.add_node("plan", nodes.plan)
        graph.add_node("retrieve", partial(nodes.retrieve, dependents=True))
        graph.add_node("look", partial(_look, nodes))
        graph.add_node("judge", nodes.judge)
        graph.add_node("verify", nodes.verify)
        graph.add_node("answer", nodes.answer)
        chain(graph, "start", "plan", "retrieve", "look", "judge", "verify", "answer")
        graph.add_edge("answer", END)


async def _look(nodes: Nodes, state: State) -> dict[str, Any]:
    """Looks at the whole picture of the best clip, where the question is about pictures before all else."""
    part = state.sub_questions[-1]
    clips = [hit for hit in state.hits.get(part.id, ()) if hit.kind == "visual" and hit.region is None]
    if not clips or part.kinds[0] != "visual" or clips[0].span.duration <= 0:
        return {"actions": ()}
    fps = min(FRAMES / clips[0].span.duration, 8.0)
    look = Look(
        view=View(video_id=clips[0].video_id, span=clips[0].span, fps=fps, short_side=SHORT_SIDE),
        question=part.text,
        sub_question=part.id,
        reason="look at the best clip",
    )
    payable, _ = nodes.run.meter.affordable([look], state.cost)
    return await nodes.perceive(replace(state, actions=tuple(payable)))
