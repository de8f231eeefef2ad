"""Health, tokens, metrics, traces, and the description of the service."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from tests.api.conftest import Bench

QUESTION = {"text": "When was the bridge opened?"}


def test_health_version_metrics(client: TestClient, indexed: str) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["ready"]
    assert client.get("/v1/version").json()["profile"] == "test"
    client.post("/v1/ask", json=QUESTION)
    client.get(f"/v1/videos/{indexed}")
    text = client.get("/metrics").text
    assert 'loupe_http_requests_total{method="GET",route="/v1/videos/{video_id}",status="200"} 1.0' in text
    assert "loupe_answers_total" in text
    assert 'loupe_jobs_total{kind="index",status="done"} 1.0' in text
    assert indexed not in text


@pytest.mark.parametrize(("tool", "status"), [("store", 503), ("vlm", 200)])
def test_readiness_says_what_is_missing(bench: Bench, tool: str, status: int) -> None:
    async def problems() -> dict[str, str]:
        return {tool: f"the tool '{tool}' waits for 1 GPU: add one."}

    with TestClient(create_app(bench.loupe, bench.settings, problems)) as client:
        reply = client.get("/readyz")
        assert reply.status_code == status
        assert "1 GPU" in reply.json()["problems"][tool]


def test_tokens(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tokens=("first", "second"))
    with TestClient(bench.app) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        for path in ("/v1/videos", "/metrics", "/docs", "/openapi.json"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.json()["field"] == "authorization"
        for header in ("Bearer third", "Bearer", "Basic first", "Bearer first second", "Bearer \xff"):
            assert client.get("/v1/videos", headers={"authorization": header.encode("latin-1")}).status_code == 401
        for token in ("first", "second"):
            assert client.get("/v1/videos", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_traces(client: TestClient, bench: Bench, indexed: str) -> None:
    trace_id = client.post("/v1/ask", json=QUESTION).json()["trace_id"]
    (listed,) = client.get("/v1/traces").json()
    assert listed["id"] == trace_id
    trace = client.get(f"/v1/traces/{trace_id}").json()
    assert trace["events"][-1]["node"] == "answer"
    assert client.get(f"/v1/traces/{trace_id}/frames/9999").status_code == 404
    for bad in ("x", "../../secret", "0" * 64):
        assert client.get(f"/v1/traces/{trace_id}/frames/{bad}").status_code in (404, 422)
    assert client.get(f"/v1/traces/{trace_id}/events", headers={"last-event-id": "x"}).status_code == 422
    assert client.delete(f"/v1/traces/{trace_id}").status_code == 204
    assert client.get(f"/v1/traces/{trace_id}").status_code == 404
    assert client.get("/v1/traces/..%2f..").status_code in (404, 422)


def test_frames_by_number_and_by_hash(client: TestClient, bench: Bench) -> None:
    import hashlib

    from agents.question import Question
    from tools.evidence import SeenFrame

    jpegs = [b"\xff\xd8 one", b"\xff\xd8 two"]
    with bench.loupe.traces.create(Question(text="?"), "test") as recorder:
        for time, jpeg in enumerate(jpegs):
            recorder.record(node="perceive", tool="read", frames=[SeenFrame(time=time, jpeg=jpeg)])
    for number, jpeg in enumerate(jpegs):
        for name in (str(number), hashlib.sha256(jpeg).hexdigest()):
            reply = client.get(f"/v1/traces/{recorder.id}/frames/{name}")
            assert reply.content == jpeg
            assert reply.headers["content-type"] == "image/jpeg"


def test_unknown_address_and_method_are_problems(client: TestClient) -> None:
    for reply in (client.get("/v1/nothing"), client.put("/v1/ask")):
        assert reply.status_code in (404, 405)
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["remedy"]


def test_openapi_describes_every_route(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert {"/v1/videos", "/v1/ask", "/v1/search", "/v1/jobs/{job_id}", "/v1/traces/{trace_id}"} <= schema[
        "paths"
    ].keys()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), (path, method)
            assert operation.get("description"), (path, method)
    form = schema["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    assert form.keys() == {"application/json", "multipart/form-data"}
