"""The vision-language model on real Serve: looks that come together are decoded together, and none disturbs another."""

import asyncio
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals import checkpoints
from tools.errors import BadInput, LoupeError
from tools.media.frames import Frames
from tools.transport import InProcess, Transport
from tools.vlm.look import Look
from tools.vlm.tool import Call, VlmTool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUESTION = "What is red?"
#: Two methods, the profile's own, the profile's with another budget, none, and three that cannot be used.
METHODS = ["uniform_stride:tokens=7", "fastv:keep=0.5,layer=2", None, ":tokens=11", "none"]
BAD = ["fastvv", "fastv:layer=99", "uniform_stride:tokens=100000"]


class Counting(VlmTool):
    """Remembers how many looks came together. The first takes as long as loading a real model does: a tiny one is
    loaded before the others have come over a busy machine."""

    def __init__(self, *args: Any, hold_s: float = 0.0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.hold_s, self.sizes = hold_s, list[int]()

    def look_many(self, calls: Sequence[Call]) -> list[Look | LoupeError]:
        self.sizes.append(len(calls))
        if len(self.sizes) == 1:
            time.sleep(self.hold_s)
        return super().look_many(calls)

    def batches(self) -> list[int]:
        return self.sizes


def pictures(seed: int) -> Frames:
    rng = np.random.default_rng(seed)
    count = 2 + seed % 3
    return Frames(np.arange(count) * 0.5, rng.integers(0, 255, (count, 60, 80, 3), dtype=np.uint8))


async def looks(transport: Transport, methods: Sequence[str | None]) -> list[Any]:
    calls = [transport.call("vlm", "look", pictures(i), QUESTION, method) for i, method in enumerate(methods)]
    return await asyncio.gather(*calls, return_exceptions=True)


def account(look: Look) -> dict[str, Any]:
    """The report without what depends on the clock."""
    return {key: value for key, value in look.report.items() if key != "seconds"}


def test_looks_that_come_together_equal_single_ones(tmp_path: Path, ray_options: dict[str, Any]) -> None:
    from ray import cloudpickle

    from cluster.app import Cluster
    from cluster.spec import ToolSpec

    # Replicas cannot import a test module, so its classes travel with their code.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    place = str(checkpoints.build("llava_onevision", tmp_path / "checkpoint"))
    build = partial(Counting, "llava_onevision", place, compression="average_pooling:keep=0.5", max_new_tokens=6)
    mixed = [*METHODS[:2], BAD[0], *METHODS[2:], *BAD[1:]]
    cluster = Cluster(
        [ToolSpec("vlm", partial(build, hold_s=15.0), max_ongoing_requests=16, timeout_s=300)], ray_options=ray_options
    )
    try:
        transport = cluster.start(timeout_s=120)
        # Looks that come while the first one runs gather.
        together = asyncio.run(looks(transport, mixed))
        sizes = asyncio.run(_batches(transport))
    finally:
        cluster.stop()
    assert sum(sizes) == len(mixed), "a bad request makes nobody run again"
    assert max(sizes) > 2

    local = InProcess({"vlm": build()})
    for i, (method, found) in enumerate(zip(mixed, together, strict=True)):
        alone = asyncio.run(_one(local, i, method))
        if method in BAD:
            assert type(found) is type(alone) is BadInput
            assert (found.message, found.field, found.remedy) == (alone.message, alone.field, alone.remedy)
            continue
        assert isinstance(found, Look), found
        assert (found.text, found.tokens_in, found.tokens_kept) == (alone.text, alone.tokens_in, alone.tokens_kept)
        assert found.confidence == pytest.approx(alone.confidence, rel=1e-3)
        assert account(found) == account(alone)
    kept = {method: found.tokens_kept for method, found in zip(mixed, together, strict=True) if method not in BAD}
    assert kept["uniform_stride:tokens=7"] == 7
    assert kept[":tokens=11"] == 11


async def _one(transport: Transport, seed: int, method: str | None) -> Any:
    try:
        return await transport.call("vlm", "look", pictures(seed), QUESTION, method)
    except LoupeError as error:
        return error


async def _batches(transport: Transport) -> list[int]:
    return list(await transport.call("vlm", "batches"))
