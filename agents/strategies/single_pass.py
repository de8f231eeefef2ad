"""Retrieval once, then the answer: the baseline that every other strategy is held against."""

from functools import partial

from langgraph.graph import END

from agents.graph import Nodes
from agents.strategy import Graph, Strategy, chain


class SinglePass(Strategy):
    """plan, retrieve for all sub-questions at once, judge, verify, answer."""

    def build(self, graph: Graph, nodes: Nodes) -> None:
        """No loop: what the index knows must do."""
        graph.add_node("plan", nodes.plan)
        graph.add_node("retrieve", partial(nodes.retrieve, dependents=True))
        graph.add_node("judge", nodes.judge)
        graph.add_node("verify", nodes.verify)
        graph.add_node("answer", nodes.answer)
        chain(graph, "start", "plan", "retrieve", "judge", "verify", "answer")
        graph.add_edge("answer", END)
