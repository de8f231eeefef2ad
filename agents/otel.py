"""Traces as OpenTelemetry spans, in OTLP's JSON form, with GenAI and OpenInference attributes.

Operations and attribute names follow the OpenTelemetry semantic conventions for generative AI (status: development)
and OpenInference; what no convention names is under ``loupe.*``. Frames are named by hash, never inlined.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.events import Event, Trace
from tools.evidence import Evidence
from tools.media.view import Region, View

Attributes = dict[str, str | int | float | bool | list[str] | list[float]]
Span = dict[str, Any]

#: OTLP enumerations: span kinds and status codes.
_INTERNAL, _CLIENT = 1, 3
_OK, _ERROR = 1, 2

_KINDS = {"plan": "CHAIN", "execute_tool": "TOOL", "retrieval": "RETRIEVER", "chat": "LLM", "invoke_agent": "AGENT"}


def spans(trace: Trace) -> list[Span]:
    """The spans of a run, parents first: the agent, an operation an event, and a chat call where one was paid for.

    Ids are hashes of the trace's id, so exporting twice gives equal spans.
    """
    root = _span(trace, "agent", None, f"invoke_agent {_AGENT}", _start(trace), _end(trace), _agent_attributes(trace))
    if trace.info.status != "running":
        failed = trace.info.status in ("failed", "crashed")
        root["status"] = {
            "code": _ERROR if failed else _OK,
            **({"message": trace.info.error} if trace.info.error else {}),
        }
        if failed:
            root["attributes"] += _encode({"error.type": trace.info.status})
    made = [root]
    for event in trace.events:
        parent = str(event.parent) if event.parent is not None and trace.event(event.parent) else "agent"
        operation = _operation(event)
        name = f"{operation} {event.tool}" if operation == "execute_tool" else operation or event.node
        attributes = _event_attributes(trace, event, operation)
        made.append(_span(trace, str(event.n), parent, name, event.started, event.ended, attributes))
        if event.cost.llm_tokens_in or event.cost.llm_tokens_out:
            chat = _chat_attributes(trace, event)
            name = f"chat {trace.info.model}" if trace.info.model else "chat"
            span = _span(trace, f"{event.n}.chat", str(event.n), name, event.started, event.ended, chat)
            made.append(span | {"kind": _CLIENT})
    return made


def otlp(traces: Sequence[Trace], service: str = "loupe") -> dict[str, Any]:
    """An OTLP request with all spans of the traces, ready to be posted as JSON to ``/v1/traces`` of a collector."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _encode({"service.name": service})},
                "scopeSpans": [
                    {"scope": {"name": _AGENT}, "spans": [span for trace in traces for span in spans(trace)]}
                ],
            }
        ]
    }


def export(trace: Trace, path: Path, service: str = "loupe") -> None:
    """Appends the run to a file of OTLP JSON lines, as the collector's file receiver reads it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(otlp([trace], service), ensure_ascii=False) + "\n")


_AGENT = "loupe"


def _operation(event: Event) -> str | None:
    if event.tool is not None:
        return "retrieval" if event.tool == "search" else "execute_tool"
    return "plan" if event.node == "plan" else None


def _agent_attributes(trace: Trace) -> Attributes:
    info = trace.info
    attributes: Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": _AGENT,
        "gen_ai.conversation.id": info.id,
        "openinference.span.kind": _KINDS["invoke_agent"],
        "input.value": info.question.text,
        "loupe.trace.id": info.id,
        "loupe.trace.status": info.status,
        "loupe.profile": info.profile,
        "loupe.strategy": info.question.strategy,
        "loupe.scope.video_ids": list(info.question.scope.video_ids),
    }
    attributes |= {f"loupe.prompt.{name}.sha256": digest for name, digest in info.prompts.items()}
    if info.model:
        attributes["gen_ai.request.model"] = info.model
    if info.forked_from:
        attributes |= {"loupe.fork.trace_id": info.forked_from.trace_id, "loupe.fork.step": info.forked_from.step}
    if trace.result is not None:
        attributes |= {
            "output.value": trace.result.answer,
            "loupe.answer.verdict": trace.result.verdict,
            "loupe.answer.confidence": trace.result.confidence,
            "loupe.answer.stopped": trace.result.stopped,
            "loupe.evidence.ids": [citation.evidence_id for citation in trace.result.citations],
        }
    return attributes | _cost_attributes(trace.cost().model_dump())


def _event_attributes(trace: Trace, event: Event, operation: str | None) -> Attributes:
    attributes: Attributes = {
        "openinference.span.kind": _KINDS.get(operation or "", "EVALUATOR" if event.node == "verify" else "CHAIN"),
        "gen_ai.conversation.id": trace.id,
        "graph.node.id": f"{event.n}",
        "loupe.event.node": event.node,
        "loupe.step": event.step,
    }
    if event.parent is not None:
        attributes["graph.node.parent_id"] = f"{event.parent}"
    if operation:
        attributes["gen_ai.operation.name"] = operation
    if operation == "execute_tool":
        attributes |= {
            "gen_ai.tool.name": event.tool or "",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": f"{trace.id}.{event.n}",
            "gen_ai.tool.call.arguments": json.dumps(event.args, ensure_ascii=False),
        }
    if operation == "retrieval":
        attributes["gen_ai.retrieval.query.text"] = str(event.args.get("query", ""))
        attributes |= _documents(event.evidence)
    if event.args:
        attributes["input.value"] = json.dumps(event.args, ensure_ascii=False)
    if event.evidence:
        attributes["output.value"] = "\n".join(f"[{item.span}] {item.text}" for item in event.evidence)
        attributes["loupe.evidence.ids"] = [item.id for item in event.evidence]
    if event.view is not None:
        attributes |= _view_attributes(event.view)
    if event.frames:
        attributes["loupe.frames.times"] = [frame.time for frame in event.frames]
        attributes["loupe.frames.sha256"] = [frame.sha256 for frame in event.frames]
    if event.note:
        attributes["loupe.note"] = event.note
    return attributes | _cost_attributes(event.cost.model_dump())


def _chat_attributes(trace: Trace, event: Event) -> Attributes:
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": trace.id,
        "gen_ai.usage.input_tokens": event.cost.llm_tokens_in,
        "gen_ai.usage.output_tokens": event.cost.llm_tokens_out,
        "llm.token_count.prompt": event.cost.llm_tokens_in,
        "llm.token_count.completion": event.cost.llm_tokens_out,
        "llm.token_count.total": event.cost.llm_tokens_in + event.cost.llm_tokens_out,
        "openinference.span.kind": _KINDS["chat"],
    }
    if trace.info.model:
        attributes |= {"gen_ai.request.model": trace.info.model, "llm.model_name": trace.info.model}
    return attributes


def _view_attributes(view: View) -> Attributes:
    attributes: Attributes = {
        "loupe.video.id": view.video_id,
        "loupe.view.id": view.id,
        "loupe.view.start": view.span.start,
        "loupe.view.end": view.span.end,
        "loupe.view.fps": view.fps,
        "loupe.view.short_side": view.short_side,
    }
    return attributes | ({"loupe.view.region": _corners(view.region)} if view.region else {})


def _corners(region: Region) -> list[float]:
    return [region.x0, region.y0, region.x1, region.y1]


def _documents(evidence: Sequence[Evidence]) -> Attributes:
    documents: Attributes = {}
    for i, item in enumerate(evidence):
        prefix = f"retrieval.documents.{i}.document"
        documents |= {f"{prefix}.id": item.id, f"{prefix}.content": item.text, f"{prefix}.score": item.score}
    return documents


def _cost_attributes(cost: Mapping[str, Any]) -> Attributes:
    """Only what was spent: zeros say nothing."""
    named = {
        "frames_decoded": "loupe.cost.frames_decoded",
        "visual_tokens_in": "loupe.visual_tokens.total",
        "visual_tokens_kept": "loupe.visual_tokens.kept",
        "seconds": "loupe.cost.seconds",
    }
    return {name: cost[key] for key, name in named.items() if cost[key]}


def _start(trace: Trace) -> float:
    return min([trace.info.created, *(event.started for event in trace.events)])


def _end(trace: Trace) -> float:
    return max([trace.info.ended or trace.info.created, *(event.ended for event in trace.events)])


def _span(
    trace: Trace, key: str, parent: str | None, name: str, start: float, end: float, attributes: Attributes
) -> Span:
    span = {
        "traceId": hashlib.blake2b(trace.id.encode(), digest_size=16).hexdigest(),
        "spanId": _span_id(trace, key),
        "name": name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(round(start * 1e9)),
        "endTimeUnixNano": str(round(end * 1e9)),
        "attributes": _encode(attributes),
        "status": {},
    }
    return span if parent is None else span | {"parentSpanId": _span_id(trace, parent)}


def _span_id(trace: Trace, key: str) -> str:
    return hashlib.blake2b(f"{trace.id}/{key}".encode(), digest_size=8).hexdigest()


def _encode(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in _values(attributes)]


def _values(attributes: Attributes) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in attributes.items():
        if isinstance(value, list):
            yield key, {"arrayValue": {"values": [_value(item) for item in value]}}
        else:
            yield key, _value(value)


def _value(value: str | int | float | bool) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}  # 64-bit integers are strings in protobuf's JSON
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
