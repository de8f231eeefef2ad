"""The whole service in processes of its own: HTTP on Ray Serve over the embedded profile."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from api.child import Child
from api.client import Client, running
from configs.profile import TOOLS
from evals.synth.script import Caption, Scene, Script
from evals.synth.write import write
from tools.errors import BadInput, Forbidden, StoreError
from tools.media.span import Span

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

QUESTION = {"text": "Which harbor is named on screen?"}


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("service")
    events = (
        Scene(span=Span.of(0, 6), texture="plain", tint=3),
        Caption(span=Span.of(2, 5), text="Old Harbor"),
    )
    write(Script(seed=1, duration=6, events=events), folder / "harbor.mp4")
    service = Child(folder / "home", folder / "service.log", environment={"LOUPE_ROOTS": str(folder)})
    with service:
        yield service
    assert not psutil.pid_exists(service_pid(folder))


def service_pid(folder: Path) -> int:
    """Process id that the log's service had; 0 where its note is gone, as it should be."""
    note = folder / "home" / "service.json"
    return int(json.loads(note.read_text())["pid"]) if note.exists() else 0


@pytest.fixture(scope="module")
def client(child: Child) -> Client:
    return child.client


@pytest.fixture(scope="module")
def video(child: Child, client: Client) -> str:
    done = client.register(child.home.parent / "harbor.mp4")
    job = client.wait(done["job"], lambda job: None)
    assert job["clips"]["text"] >= 1
    return str(done["video"]["id"])


def test_it_is_ready_with_all_tools(client: Client) -> None:
    ready = client.ready()
    assert ready["ready"]
    assert set(TOOLS) == set(ready["tools"])


def test_an_answer_from_the_screen_with_its_citation(client: Client, video: str) -> None:
    answer = client.post("/v1/ask", json=QUESTION)
    assert "harbor" in answer["answer"].lower()
    cited = [Span.of(one["start"], one["end"]) for one in answer["citations"]]
    assert any(span.overlaps(Span.of(2, 5)) for span in cited)
    trace = client.get(f"/v1/traces/{answer['trace_id']}")
    assert trace["result"] == answer


def test_steps_come_as_events_with_one_last(client: Client, video: str) -> None:
    names = [name for name, _ in client.events(QUESTION)]
    assert names.count("answer") == 1
    assert names[-1] == "answer"


def test_errors_come_as_their_own_class(client: Client, video: str) -> None:
    with pytest.raises(BadInput) as caught:
        client.post("/v1/ask", json=QUESTION | {"strategy": "guess"})
    assert caught.value.field == "strategy"
    with pytest.raises(Forbidden):
        client.post("/v1/videos", json={"uri": "/etc/passwd"})


def test_the_data_directory_belongs_to_the_service(child: Child, video: str) -> None:
    with running(child.home) or pytest.fail("the service is not found") as found:
        assert found.url == child.client.url
    from agents.loupe import Loupe
    from configs import load_profile
    from tools.evidence import Scope

    async def search() -> Any:
        with Loupe.open(load_profile("embedded"), child.home) as loupe:
            return await loupe.toolbox.search("", Scope())

    import asyncio

    with pytest.raises(StoreError):
        asyncio.run(search())


def test_a_killed_replica_costs_no_answer(child: Child, client: Client, video: str) -> None:
    replicas = [
        one
        for one in psutil.Process(child.pid).children(recursive=True)
        if "ServeReplica:loupe:ocr" in " ".join(one.cmdline())
    ]
    assert replicas
    for one in replicas:
        os.kill(one.pid, signal.SIGKILL)
    answer = client.post("/v1/ask", json=QUESTION)
    assert "harbor" in answer["answer"].lower()
