"""Traces as OpenTelemetry spans: structure, times, attributes, and that OTLP's own schema takes them."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from agents.agent import Agent
from agents.events import Trace
from agents.otel import export, otlp, spans
from agents.question import Question
from agents.reasoner import Decision
from agents.reasoners.rules import RuleReasoner
from agents.state import State
from agents.trace import TraceStore
from tools.evidence import Cost

LIGHTHOUSE = "What is written on screen right after the speaker mentions the lighthouse?"


class Paid(RuleReasoner):
    """Thinks like the rules and costs like a chat model."""

    model = "tiny-chat"

    async def decide(self, state: State) -> Decision:
        decision = await super().decide(state)
        return decision.model_copy(update={"cost": Cost(llm_tokens_in=100, llm_tokens_out=20)})


@pytest.fixture
def trace(make_agent: Callable[..., Agent], traces: TraceStore) -> Trace:
    answer = asyncio.run(make_agent(reasoner=Paid()).ask(Question(text=LIGHTHOUSE)))
    return traces.open(answer.trace_id)


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    def value(raw: dict[str, Any]) -> Any:
        if "arrayValue" in raw:
            return [value(item) for item in raw["arrayValue"]["values"]]
        return int(raw["intValue"]) if "intValue" in raw else next(iter(raw.values()))

    return {item["key"]: value(item["value"]) for item in span["attributes"]}


def test_every_event_is_a_span_below_the_agent(trace: Trace) -> None:
    made = spans(trace)
    root = made[0]
    assert root["name"] == "invoke_agent loupe"
    assert "parentSpanId" not in root
    assert len({span["traceId"] for span in made}) == 1
    ids = [span["spanId"] for span in made]
    assert len(set(ids)) == len(ids)
    for i, span in enumerate(made[1:], 1):
        assert span["parentSpanId"] in ids[:i], "parents come first"
    by_event = {attributes(span).get("graph.node.id"): span for span in made if "loupe.step" in attributes(span)}
    assert len(by_event) == len(trace.events)
    for event in trace.events:
        parent = by_event[str(event.parent)] if event.parent is not None else root
        assert by_event[str(event.n)]["parentSpanId"] == parent["spanId"]


def test_times_lie_inside_the_agent_and_are_the_events_own(trace: Trace) -> None:
    root, *rest = spans(trace)
    begin, end = int(root["startTimeUnixNano"]), int(root["endTimeUnixNano"])
    for span in rest:
        assert begin <= int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) <= end
    event = trace.events[3]
    span = next(span for span in rest if attributes(span).get("graph.node.id") == "3")
    assert int(span["startTimeUnixNano"]) == round(event.started * 1e9)
    assert int(span["endTimeUnixNano"]) == round(event.ended * 1e9)


def test_operations_and_kinds(trace: Trace) -> None:
    kinds: dict[str, set[str]] = {}
    for span in spans(trace):
        own = attributes(span)
        kinds.setdefault(own.get("gen_ai.operation.name", own.get("loupe.event.node")), set()).add(
            own["openinference.span.kind"]
        )
    assert kinds["invoke_agent"] == {"AGENT"}
    assert kinds["plan"] == {"CHAIN"}
    assert kinds["retrieval"] == {"RETRIEVER"}
    assert kinds["execute_tool"] == {"TOOL"}
    assert kinds["chat"] == {"LLM"}
    assert kinds["judge"] == {"CHAIN"}


def test_what_a_look_says(trace: Trace) -> None:
    event = next(event for event in trace.events if event.tool == "read" and event.view and event.view.region)
    span = next(span for span in spans(trace) if attributes(span).get("graph.node.id") == str(event.n))
    own = attributes(span)
    assert span["name"] == "execute_tool read"
    assert event.view is not None
    assert event.view.region is not None
    assert own["gen_ai.tool.name"] == "read"
    assert own["loupe.video.id"] == "documentary"
    assert (own["loupe.view.start"], own["loupe.view.end"]) == (event.view.span.start, event.view.span.end)
    assert own["loupe.view.fps"] == event.view.fps
    assert own["loupe.view.region"] == [
        event.view.region.x0,
        event.view.region.y0,
        event.view.region.x1,
        event.view.region.y1,
    ]
    assert own["loupe.evidence.ids"] == [item.id for item in event.evidence]
    assert own["loupe.frames.sha256"] == [frame.sha256 for frame in event.frames]
    assert own["loupe.cost.frames_decoded"] == event.cost.frames_decoded


def test_a_search_carries_its_documents(trace: Trace) -> None:
    event = next(event for event in trace.events if event.tool == "search")
    own = next(attributes(span) for span in spans(trace) if attributes(span).get("graph.node.id") == str(event.n))
    assert own["gen_ai.retrieval.query.text"] == event.args["query"]
    assert own["retrieval.documents.0.document.id"] == event.evidence[0].id
    assert own["retrieval.documents.0.document.content"] == event.evidence[0].text


def test_tokens_are_on_chat_spans_only_and_add_up(trace: Trace) -> None:
    chats = [span for span in spans(trace) if span["name"] == "chat tiny-chat"]
    assert chats
    assert all(span["kind"] == 3 for span in chats)
    total = sum(attributes(span)["gen_ai.usage.input_tokens"] for span in chats)
    assert total == trace.cost().llm_tokens_in > 0
    assert all(attributes(span)["gen_ai.request.model"] == "tiny-chat" for span in chats)
    others = [span for span in spans(trace) if span not in chats]
    assert not [span for span in others if "gen_ai.usage.input_tokens" in attributes(span)]


def test_visual_tokens_kept_of_all(make_agent: Callable[..., Agent], traces: TraceStore) -> None:
    answer = asyncio.run(make_agent().ask(Question(text="What is seen on the lake?")))
    looks = [attributes(s) for s in spans(traces.open(answer.trace_id)) if s["name"] == "execute_tool look"]
    assert looks
    assert all(own["loupe.visual_tokens.total"] == 4 * own["loupe.visual_tokens.kept"] > 0 for own in looks)


def test_names_are_those_of_the_conventions(trace: Trace) -> None:
    known = {
        value
        for name, value in vars(gen_ai_attributes).items()
        if name.startswith("GEN_AI_") and isinstance(value, str)
    }
    used = {key for span in spans(trace) for key in attributes(span) if key.startswith("gen_ai.")}
    assert len(used) > 8
    assert used <= known


def test_the_answer_and_failures_are_on_the_agent(trace: Trace) -> None:
    root = spans(trace)[0]
    own = attributes(root)
    assert own["output.value"] == "Built 1887 by Henrik Olsen"
    assert own["loupe.answer.verdict"] == "grounded"
    assert root["status"] == {"code": 1}
    crashed = replace(trace, info=trace.info.model_copy(update={"status": "crashed"}), result=None)
    root = spans(crashed)[0]
    assert root["status"] == {"code": 2}
    assert attributes(root)["error.type"] == "crashed"
    running = replace(trace, info=trace.info.model_copy(update={"status": "running"}), result=None)
    assert spans(running)[0]["status"] == {}


def in_protobuf_json(value: Any, key: str = "") -> Any:
    """OTLP writes ids as hexadecimal where protobuf's own JSON has base64; everything else is the same."""
    if isinstance(value, dict):
        return {name: in_protobuf_json(entry, name) for name, entry in value.items()}
    if isinstance(value, list):
        return [in_protobuf_json(entry) for entry in value]
    return base64.b64encode(bytes.fromhex(value)).decode() if key in ("traceId", "spanId", "parentSpanId") else value


def test_files_hold_what_a_collector_reads(trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    export(trace, path)
    export(trace, path, service="other")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == otlp([trace])
    requests = [json_format.ParseDict(in_protobuf_json(line), ExportTraceServiceRequest()) for line in lines]
    names = [request.resource_spans[0].resource.attributes[0].value.string_value for request in requests]
    assert names == ["loupe", "other"]
    read = requests[0].resource_spans[0].scope_spans[0].spans
    assert len(read) == len(spans(trace))
    assert len(read[0].trace_id) == 16
    assert len(read[0].span_id) == 8
    assert read[1].parent_span_id == read[0].span_id
    assert read[0].end_time_unix_nano > read[0].start_time_unix_nano
