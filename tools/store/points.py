"""Clips as points of a Qdrant collection, and scopes as its filters, in the form of Qdrant's REST interface."""

import uuid
from collections.abc import Mapping
from typing import Any

from tools.evidence import Evidence, Scope
from tools.media.span import Span
from tools.media.view import Region, View

#: The one collection and its vectors.
COLLECTION = "clips"
TEXT, VISUAL, WORDS = "text", "visual", "words"
#: Payload fields that scopes filter by, with the type of their index.
INDEXES = {"video_id": "keyword", "kind": "keyword", "start": "float", "end": "float"}

Filter = dict[str, Any]


def point_id(evidence_id: str) -> uuid.UUID:
    """Deterministic: the 32 hexadecimal digits of an evidence id are a UUID; any other id is hashed to one."""
    try:
        return uuid.UUID(hex=evidence_id)
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_OID, evidence_id)


def payload(evidence: Evidence) -> dict[str, Any]:
    """Everything about the evidence, flat."""
    return {
        "id": evidence.id,
        "video_id": evidence.video_id,
        "kind": evidence.kind,
        "start": evidence.span.start,
        "end": evidence.span.end,
        "region": None if evidence.region is None else evidence.region.model_dump(),
        "text": evidence.text,
        "score": evidence.score,
        "view": None if evidence.view is None else evidence.view.model_dump(mode="json"),
        "tool": evidence.tool,
        "model": evidence.model,
    }


def evidence(payload: Mapping[str, Any]) -> Evidence:
    """The inverse of `payload`."""
    region, view = payload["region"], payload["view"]
    return Evidence(
        id=payload["id"],
        video_id=payload["video_id"],
        kind=payload["kind"],
        span=Span(start=payload["start"], end=payload["end"]),
        region=None if region is None else Region.model_validate(region),
        text=payload["text"],
        score=payload["score"],
        view=None if view is None else View.model_validate(view),
        tool=payload["tool"],
        model=payload["model"],
    )


def scope_filter(scope: Scope) -> Filter:
    """The filter that lets through what ``scope`` holds; a span lets through what `Span.overlaps` it."""
    must: list[dict[str, Any]] = []
    if scope.video_ids:
        must.append({"key": "video_id", "match": {"any": sorted(set(scope.video_ids))}})
    if scope.kinds:
        must.append({"key": "kind", "match": {"any": sorted(set(scope.kinds))}})
    if scope.span is not None:
        start, end = scope.span.start, scope.span.end
        # An empty span holds its instant, and an empty clip lies in the span in which it starts.
        must.append({"key": "start", "range": {"lt": end} if end > start else {"lte": start}})
        must.append({"should": [{"key": "end", "range": {"gt": start}}, {"key": "start", "range": {"gte": start}}]})
    return {"must": must}


def both(filter: Filter, *conditions: dict[str, Any]) -> Filter:
    """``filter`` with further conditions that must hold."""
    return {"must": [*filter["must"], *conditions]}
