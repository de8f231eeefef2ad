"""A strategy: which graph of steps spends the budget. One file each in ``agents/strategies``."""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.graph import Nodes
from agents.run import Run
from agents.state import State
from tools.registry import Registry

Graph = StateGraph[State, None, State, State]


class Strategy(ABC):
    """Builds a LangGraph graph over the shared nodes (`agents.graph.Nodes`), or over nodes of its own.

    A graph starts at START, ends after the node "answer", and leads to "verify" as soon as ``state.stopped`` is set.
    Strategies hold no state; one serves many questions.
    """

    #: Nodes that one step passes at most, so that LangGraph's own limit is set above what the budget allows.
    nodes_a_step: ClassVar[int] = 4

    @abstractmethod
    def build(self, graph: Graph, nodes: Nodes) -> None:
        """Adds nodes and edges to ``graph``."""

    def compile(self, nodes: Nodes) -> CompiledStateGraph[State, None, State, State]:
        """The runnable graph for one question."""
        graph: Graph = StateGraph(State)
        self.build(graph, nodes)
        return graph.compile()

    def config(self, run: Run) -> RunnableConfig:
        """What LangGraph is to be told about the run."""
        return {"recursion_limit": run.meter.recursion_limit(self.nodes_a_step)}


def chain(graph: Graph, *names: str) -> None:
    """Edges from START or the first name through all others in order."""
    for before, after in pairwise(names):
        graph.add_edge(START if before == "start" else before, after)


STRATEGIES: Registry[Strategy] = Registry("agents.strategies", Strategy, "strategy")  # type: ignore[type-abstract]
