"""Questions over HTTP: one JSON object, or steps and exactly one final event."""

import json

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import Bench, events
from tools.errors import ToolUnavailable

QUESTION = "When was the bridge opened?"


def test_answers_with_a_citation(client: TestClient, indexed: str) -> None:
    answer = client.post("/v1/ask", json={"text": QUESTION}).raise_for_status().json()
    assert "bridge" in answer["answer"]
    assert answer["citations"][0]["video_id"] == indexed
    assert answer["citations"][0]["start"] < 2
    assert answer["cost"]["tool_calls"]["search"] >= 1
    assert client.get(f"/v1/traces/{answer['trace_id']}").json()["result"] == answer


@pytest.mark.parametrize("how", ["stream", "accept"])
def test_streams_steps_and_one_final_event(client: TestClient, indexed: str, how: str) -> None:
    body = {"text": QUESTION} | ({"stream": True} if how == "stream" else {})
    headers = {"accept": "text/event-stream"} if how == "accept" else {}
    reply = client.post("/v1/ask", json=body, headers=headers)
    assert reply.headers["content-type"].startswith("text/event-stream")
    seen = events(reply.text)
    names = [name for name, _, _ in seen]
    assert names[0] == "plan"
    assert "search" in names
    assert [name for name in names if name in ("answer", "error")] == ["answer"]
    assert names[-1] == "answer"
    ids = [int(id_) for _, id_, _ in seen if id_ is not None]
    assert ids == sorted(set(ids))
    assert len(ids) == len(seen)
    trace_id = json.loads(seen[-1][2])["trace_id"]
    again = events(client.get(f"/v1/traces/{trace_id}/events", headers={"last-event-id": "1"}).text)
    assert again == seen[2:]


def test_a_run_that_breaks_ends_with_one_error_event(
    client: TestClient, bench: Bench, indexed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = bench.loupe.stream

    async def broken(question: object):
        async for event in stream(question):  # type: ignore[arg-type]
            yield event
            raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(bench.loupe, "stream", broken)
    reply = client.post("/v1/ask", json={"text": QUESTION, "stream": True})
    names = [name for name, _, _ in events(reply.text)]
    assert names == ["plan", "error"]
    problem = json.loads(events(reply.text)[-1][2])
    assert problem["status"] == 500
    assert problem["incident"] in problem["remedy"]
    assert "secret" not in reply.text


def test_a_dead_tool_is_named_and_the_answer_comes(client: TestClient, bench: Bench, indexed: str) -> None:
    bench.ears.fault = ToolUnavailable("the ears are blocked", remedy="unblock them", field="asr")
    answer = client.post("/v1/ask", json={"text": QUESTION}).raise_for_status().json()
    assert "bridge" in answer["answer"]
    events = client.get(f"/v1/traces/{answer['trace_id']}").json()["events"]
    told = [*answer["notes"], *(event["note"] for event in events if event["note"])]
    assert any("the ears are blocked" in note for note in told)


def test_search_needs_no_agent(client: TestClient, indexed: str) -> None:
    found = client.post("/v1/search", json={"query": "bridge"}).raise_for_status().json()
    assert [one["kind"] for one in found["evidence"]] == ["speech"]
    elsewhere = client.post("/v1/search", json={"query": "bridge", "scope": {"kinds": ["text"]}}).json()
    assert elsewhere["evidence"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": "   "}, "body"),
        ({"text": "why " * 25_000}, "text"),
        ({"text": QUESTION, "budget": {"steps": -1}}, "budget.steps"),
        ({"text": QUESTION, "budget": {"seconds": -0.5}}, "budget.seconds"),
        ({"text": QUESTION, "budget": {"money": 3}}, "budget.money"),
        ({"text": QUESTION, "strategy": "guess"}, "strategy"),
        ({"text": QUESTION, "scope": {"span": {"start": 900, "end": 910}}}, "scope.span"),
        ({"text": QUESTION, "scope": {"span": {"start": 5, "end": 1}}}, "scope.span"),
        ({"text": QUESTION, "what": 1}, "what"),
        ({}, "text"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_questions_name_the_field_and_the_remedy(
    client: TestClient, indexed: str, body: dict[str, object], field: str, stream: bool
) -> None:
    reply = client.post("/v1/ask", json=body | ({"stream": True} if stream else {}))
    problem = reply.json()
    assert reply.status_code == problem["status"] == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["field"] == field
    assert problem["remedy"]
    assert len(reply.text) < 2000


def test_unknown_video_is_404(client: TestClient, indexed: str) -> None:
    reply = client.post("/v1/ask", json={"text": QUESTION, "scope": {"video_ids": ["0" * 32]}})
    assert reply.status_code == 404
    reply = client.post("/v1/search", json={"query": "x", "scope": {"video_ids": ["../etc"]}})
    assert reply.status_code == 404
    assert reply.json()["field"] == "video_id"


def test_body_that_is_no_json(client: TestClient) -> None:
    reply = client.post("/v1/ask", content=b"{text", headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert reply.json()["field"] == "body"


def test_body_that_is_far_too_large(client: TestClient) -> None:
    reply = client.post("/v1/ask", json={"text": "x" * 2_000_000})
    assert reply.status_code == 413


def test_unexpected_errors_have_an_incident_and_no_trace(
    client: TestClient, bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> object:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(bench.loupe.library, "list", broken)
    reply = client.get("/v1/videos")
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert reply.json()["incident"] in caplog.text
    assert "secret detail" in caplog.text
