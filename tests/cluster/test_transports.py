"""One contract for both transports, what only a cluster can suffer, and sweeps; all on one Ray."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cluster.archive import Manifest, sweep
from tools.errors import BadInput, ToolUnavailable
from tools.transport import InProcess, Transport

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Use = Callable[[Transport], Awaitable[Any]]


@pytest.fixture(params=["in_process", "serve"])
def transport(request: pytest.FixtureRequest) -> Transport:
    served: SimpleNamespace = request.getfixturevalue("served")
    if request.param == "serve":
        return served.transport
    tools = {spec.name: spec.build() for spec in served.specs if spec.name != "vlm"}
    return InProcess(tools)


async def _plain(transport: Transport) -> Any:
    return await transport.call("media", "frames", 3, side=8)


async def _chain(transport: Transport) -> Any:
    return await transport.call("ocr", "read", transport.call("media", "frames", 4), scale=10)


async def _named(transport: Transport) -> Any:
    return await transport.call("ocr", "read", frames=transport.call("media", "frames", 4))


async def _shared(transport: Transport) -> Any:
    frames = transport.call("media", "frames", 5)
    both = await asyncio.gather(
        transport.call("ocr", "read", frames),
        transport.call("ocr", "both", frames, frames),
        frames,
    )
    return [both[0], both[1], both[2].shape, (await frames).sum()]


async def _parallel(transport: Transport) -> Any:
    texts = [["x" * i, "yy"] for i in range(12)]
    found = await asyncio.gather(*(transport.call("embed", "texts", one) for one in texts))
    return [rows.tolist() for rows in found]


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (_plain, np.broadcast_to(np.arange(3, dtype=np.uint8)[:, None, None, None], (3, 8, 8, 3))),
        (_chain, [0, 10, 20, 30]),
        (_named, [0, 1, 2, 3]),
        (_shared, [[0, 1, 2, 3, 4], (5, 5), (5, 64, 64, 3), 10 * 64 * 64 * 3]),
        (_parallel, [[[float(i)], [2.0]] for i in range(12)]),
    ],
)
def test_results_are_equal(transport: Transport, use: Use, expected: Any) -> None:
    found = asyncio.run(use(transport))
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    else:
        assert found == expected


def test_user_errors_arrive_as_they_were_raised(transport: Transport) -> None:
    async def direct() -> None:
        await transport.call("media", "damaged")

    async def through_an_argument() -> None:
        await transport.call("ocr", "read", transport.call("media", "damaged"))

    async def in_a_batch() -> Any:
        calls = [transport.call("embed", "texts", ["bad" if i == 2 else "good"]) for i in range(5)]
        return await asyncio.gather(*calls, return_exceptions=True)

    for use in (direct, through_an_argument):
        with pytest.raises(BadInput) as caught:
            asyncio.run(use())
        assert type(caught.value) is BadInput
        assert (caught.value.field, caught.value.remedy) == ("span", "ask for 0-60")
        assert str(caught.value) == "second 70 is outside the video: ask for 0-60."
    results = asyncio.run(in_a_batch())
    assert [type(result) for result in results].count(BadInput) == 1
    assert type(results[2]) is BadInput


def test_unexpected_errors_keep_their_class(transport: Transport) -> None:
    async def use() -> None:
        await transport.call("media", "broken")

    with pytest.raises(ZeroDivisionError, match="nobody expected this"):
        asyncio.run(use())


def test_a_tool_that_is_not_there(transport: Transport) -> None:
    async def use() -> None:
        await transport.call("asr", "transcribe", "x")

    with pytest.raises(ToolUnavailable, match="no tool 'asr'"):
        asyncio.run(use())
    assert {"media", "ocr", "embed"} <= set(transport.tools())


def test_a_tool_that_cannot_be_built_says_why(served: SimpleNamespace) -> None:
    async def use() -> Any:
        problems = await served.transport.problems()
        with pytest.raises(ToolUnavailable) as caught:
            await served.transport.call("vlm", "look", "frames", "what is it?")
        return problems, caught.value

    problems, error = asyncio.run(use())
    assert problems.keys() == {"vlm"}
    assert "nowhere" in problems["vlm"]
    assert error.field == "vlm.model"
    assert error.remedy == "download it"


def test_calls_that_come_together_are_joined(served: SimpleNamespace) -> None:
    async def use() -> Any:
        await asyncio.gather(*(served.transport.call("embed", "texts", ["a"]) for _ in range(20)))
        return await served.transport.call("embed", "largest_batch")

    assert asyncio.run(use()) > 1


def test_a_call_survives_the_death_of_its_replica(served: SimpleNamespace) -> None:
    async def use() -> Any:
        before = await served.transport.call("media", "pid")
        result = await served.transport.call("media", "die_once", "direct")
        return result, before, await served.transport.call("media", "pid")

    result, before, after = asyncio.run(use())
    assert result == "survived direct"
    assert before != after


def test_a_call_survives_the_death_of_the_replica_that_makes_its_argument(served: SimpleNamespace) -> None:
    async def use() -> Any:
        frames = served.transport.call("media", "frames_after_death", "argument", 3)
        reads = await asyncio.gather(*(served.transport.call("ocr", "read", frames, scale=n) for n in (1, 2)))
        return [*reads, len(await frames)]

    assert asyncio.run(use()) == [[0, 1, 2], [0, 2, 4], 3]


def test_a_tool_that_always_dies_is_unavailable(served: SimpleNamespace) -> None:
    async def use() -> None:
        await served.transport.call("media", "die")

    with pytest.raises(ToolUnavailable, match="'media' is down") as caught:
        asyncio.run(use())
    assert caught.value.remedy


def test_a_call_that_takes_too_long_is_given_up(served: SimpleNamespace) -> None:
    from cluster.transport import ServeTransport

    hasty = ServeTransport(served.transport._handles, {"media": 0.5})

    async def use() -> Any:
        with pytest.raises(ToolUnavailable, match=r"did not answer 'slow' within 0\.5 s"):
            await hasty.call("media", "slow", 3.0)
        return await served.transport.call("media", "slow", 0.0)

    assert asyncio.run(use()) == "done"


def test_pixels_stay_out_of_the_caller(served: SimpleNamespace) -> None:
    """The caller's share of a chain over 86 MB of pictures is a few kilobytes."""
    import psutil

    async def use() -> Any:
        call = served.transport.call
        return await call("ocr", "read", call("media", "frames", 20, 1200))

    before = psutil.Process().memory_info().rss
    assert len(asyncio.run(use())) == 20
    assert psutil.Process().memory_info().rss - before < 40e6


def test_items_are_isolated_and_a_second_sweep_goes_on(served: SimpleNamespace, tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    runs = tmp_path / "runs"
    runs.mkdir()

    def run(path: str) -> dict[str, Any]:
        (runs / f"{path}-{len(list(runs.iterdir()))}").touch()
        if path == "bad":
            raise ValueError("not a video")
        if path == "deadly":
            os._exit(1)
        return {"path": path}

    paths = ["a", "bad", "b", "deadly", "c", "a"]
    first = []
    for item in sweep(paths, manifest, run, parallel=2):
        first.append(item)
        assert item in manifest.items()
        if len(first) == 2:
            break
    rest = list(sweep(paths, manifest, run, parallel=2))
    done = {item.path: item for item in manifest.items()}
    assert done.keys() == {"a", "bad", "b", "deadly", "c"}
    assert {path for path, item in done.items() if item.status == "done"} == {"a", "b", "c"}
    assert done["bad"].error == "ValueError: not a video"
    assert "gone" in str(done["deadly"].error)
    assert not {item.path for item in first if item.status == "done"} & {item.path for item in rest}
    again = list(sweep(paths, manifest, run, parallel=2))
    assert {item.path for item in again} == {"bad", "deadly"}
