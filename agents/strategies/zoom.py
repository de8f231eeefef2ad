"""Retrieve, then zoom: look where the index points, closer each time, until the evidence answers."""

from langgraph.graph import END

from agents.graph import Nodes
from agents.state import State
from agents.strategy import Graph, Strategy, chain


class Zoom(Strategy):
    """plan, retrieve, judge, (choose, perceive, judge) as long as it pays, verify, answer."""

    def build(self, graph: Graph, nodes: Nodes) -> None:
        """One loop, left as soon as the reasoner, the budget or a circle ends it."""
        graph.add_node("plan", nodes.plan)
        graph.add_node("retrieve", nodes.retrieve)
        graph.add_node("choose", nodes.choose)
        graph.add_node("perceive", nodes.perceive)
        graph.add_node("judge", nodes.judge)
        graph.add_node("verify", nodes.verify)
        graph.add_node("answer", nodes.answer)
        chain(graph, "start", "plan", "retrieve", "judge")
        chain(graph, "perceive", "judge")
        graph.add_conditional_edges("judge", _on, {"go": "choose", "end": "verify"})
        graph.add_conditional_edges("choose", _on, {"go": "perceive", "end": "verify"})
        chain(graph, "verify", "answer")
        graph.add_edge("answer", END)


async def _on(state: State) -> str:
    # LangGraph runs a plain function in a worker thread, which costs more than the whole decision.
    return "end" if state.stopped else "go"
