"""The scripted world, and agents that live in it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# `world.py` is shared by the tests of this folder; in importlib mode they have no package to import it from.
sys.path.insert(0, str(Path(__file__).parent))

from world import World, WorldToolbox, documentary, travel

from agents.agent import Agent
from agents.reasoners.rules import RuleReasoner
from agents.trace import TraceStore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world() -> World:
    """Two videos of five minutes: a documentary and a travel film."""
    return World({"documentary": (300.0, documentary()), "travel": (300.0, travel())})


@pytest.fixture
def toolbox(world: World) -> WorldToolbox:
    return WorldToolbox(world)


@pytest.fixture
def traces(tmp_path: Path) -> TraceStore:
    return TraceStore(tmp_path / "traces")


@pytest.fixture
def make_agent(toolbox: WorldToolbox, traces: TraceStore) -> Callable[..., Agent]:
    """An agent over the world with rules, or with another reasoner, toolbox or clock."""

    def make(**changes: Any) -> Agent:
        settings = {"toolbox": toolbox, "reasoner": RuleReasoner(), "traces": traces, "profile_name": "test"} | changes
        return Agent(settings.pop("toolbox"), settings.pop("reasoner"), settings.pop("traces"), **settings)

    return make
