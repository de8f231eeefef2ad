"""Calls in one process: results flow from tool to tool, missing tools say so."""

import asyncio
import threading

import pytest

from tools.errors import ToolUnavailable
from tools.transport import InProcess


class Numbers:
    def __init__(self) -> None:
        self.closed = False

    def one(self) -> int:
        return 1

    def add(self, left: int, right: int = 0) -> int:
        return left + right

    def fail(self) -> int:
        raise ValueError("broken")

    def thread(self) -> str:
        return threading.current_thread().name

    def close(self) -> None:
        self.closed = True


def test_a_pending_result_is_an_argument() -> None:
    transport = InProcess({"numbers": Numbers()})

    async def chain() -> int:
        one = transport.call("numbers", "one")
        two = transport.call("numbers", "add", one, right=one)
        total: int = await transport.call("numbers", "add", two, one)
        return total

    assert asyncio.run(chain()) == 3


def test_calls_leave_the_event_loop_free() -> None:
    async def name() -> str:
        found: str = await InProcess({"numbers": Numbers()}).call("numbers", "thread")
        return found

    assert asyncio.run(name()) != threading.current_thread().name


@pytest.mark.parametrize("through", [False, True])
def test_errors_arrive_as_they_were_raised(through: bool) -> None:
    transport = InProcess({"numbers": Numbers()})

    async def call() -> None:
        broken = transport.call("numbers", "fail")
        await (transport.call("numbers", "add", broken) if through else broken)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(call())


def test_a_tool_that_is_not_there_is_named() -> None:
    async def call() -> None:
        await InProcess({}).call("ocr", "read")

    with pytest.raises(ToolUnavailable, match=r"no tool 'ocr'.*profile"):
        asyncio.run(call())


def test_closing_closes_the_tools() -> None:
    numbers = Numbers()
    InProcess({"numbers": numbers, "plain": object()}).close()
    assert numbers.closed
