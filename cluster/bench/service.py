"""Calls through Ray Serve against calls in this process: overhead, and pictures on their way between tools."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.app import Cluster
from cluster.spec import ToolSpec
from tools.transport import InProcess, Transport

#: Calls of each kind that are timed.
CALLS = 200
#: Pictures handed from tool to tool, and their height and width.
PICTURES, HEIGHT, WIDTH = 32, 480, 854


class Source:
    """Hands out numbers and pictures at no cost of its own."""

    def __init__(self) -> None:
        self._pictures = np.zeros((PICTURES, HEIGHT, WIDTH, 3), np.uint8)

    def number(self) -> int:
        """Nothing but a call."""
        return 1

    def pictures(self) -> npt.NDArray[np.uint8]:
        """uint8 ``[PICTURES, HEIGHT, WIDTH, 3]``."""
        return self._pictures


class Sink:
    """Takes pictures and looks at one of them."""

    def take(self, pictures: npt.NDArray[np.uint8]) -> int:
        """How many there were."""
        return len(pictures) + int(pictures[-1, -1, -1, -1])


def run(out_dir: Path) -> list[dict[str, Any]]:  # noqa: ARG001 - nothing is kept
    """A row a kind of call: median and 95th percentile in milliseconds, in this process and through Serve."""
    here = asyncio.run(_measure(InProcess({"source": Source(), "sink": Sink()})))
    specs = [ToolSpec("source", Source), ToolSpec("sink", Sink)]
    serve = Cluster(specs, ray_options={"object_store_memory": 500 * 2**20})
    try:
        through = asyncio.run(_measure(serve.start()))
    finally:
        serve.stop()
    return [
        {
            "call": name,
            "in_process_p50_ms": here[name][0],
            "in_process_p95_ms": here[name][1],
            "serve_p50_ms": through[name][0],
            "serve_p95_ms": through[name][1],
            "overhead_p50_ms": round(through[name][0] - here[name][0], 3),
        }
        for name in here
    ]


async def _measure(transport: Transport) -> dict[str, tuple[float, float]]:
    call = transport.call
    megabytes = PICTURES * HEIGHT * WIDTH * 3 / 1e6
    return {
        "one call": await _timed(lambda: call("source", "number"), CALLS),
        "16 calls at once": await _timed(lambda: _gather(transport), CALLS // 8),
        f"{megabytes:.0f} MB from tool to tool": await _timed(
            lambda: call("sink", "take", call("source", "pictures")), CALLS // 8
        ),
    }


async def _gather(transport: Transport) -> None:
    await asyncio.gather(*(transport.call("source", "number") for _ in range(16)))


async def _timed(use: Callable[[], Awaitable[Any]], count: int) -> tuple[float, float]:
    for _ in range(5):
        await use()
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        await use()
        taken.append((time.perf_counter() - begun) * 1e3)
    return round(statistics.median(taken), 3), round(statistics.quantiles(taken, n=20)[-1], 3)
