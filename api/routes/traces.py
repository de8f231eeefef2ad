"""Traces: what was done for each question, with the frames that were seen."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from sse_starlette import EventSourceResponse

from agents.events import Event, FrameRef, HeatRef, RunInfo
from api.routes.ask import PING_S
from api.schemas import TraceDetail
from api.service import Service, ServiceDep
from tools.errors import BadInput, NotFound

router = APIRouter(prefix="/traces", tags=["traces"])

#: Pictures are named by their content and never change.
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}


@router.get("", summary="List traces")
async def listing(service: ServiceDep, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[RunInfo]:
    """The latest runs, newest first."""
    return await asyncio.to_thread(service.loupe.traces.list, limit)


@router.get("/{trace_id}", summary="Look up a trace")
async def one(trace_id: str, service: ServiceDep) -> TraceDetail:
    """A run with its events; readable while it runs and after a crash."""
    trace = await asyncio.to_thread(service.loupe.traces.open, trace_id)
    return TraceDetail(info=trace.info, events=trace.events, result=trace.result)


@router.get("/{trace_id}/events", response_class=EventSourceResponse, summary="Follow a trace")
async def follow(
    trace_id: str, service: ServiceDep, last_event_id: Annotated[str | None, Header()] = None
) -> EventSourceResponse:
    """The events of a run as server-sent events, from the one after ``Last-Event-ID`` on, until it ends."""
    if last_event_id is not None and not last_event_id.isdigit():
        raise BadInput(
            f"'{last_event_id[:40]}' is not the id of an event",
            remedy="send the last id that came",
            field="last-event-id",
        )
    after = int(last_event_id) if last_event_id is not None else -1
    return EventSourceResponse(await service.runs.follow(trace_id, after), ping=PING_S)


@router.get(
    "/{trace_id}/frames/{frame}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The frame."}},
    summary="A frame that was seen",
)
async def frame(trace_id: str, frame: str, service: ServiceDep) -> Response:
    """A frame as JPEG, by its number in the trace (from 0, in order of the events) or by its SHA-256."""
    sha256 = await _sha256(service, trace_id, frame, lambda event: event.frames, "frame")
    jpeg = await asyncio.to_thread(service.loupe.traces.frame, trace_id, sha256)
    return Response(jpeg, media_type="image/jpeg", headers=_FOR_EVER)


@router.get(
    "/{trace_id}/heat/{heat}",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The heat map, a pixel a cell."}},
    summary="Which patches a look saw",
)
async def heat(trace_id: str, heat: str, service: ServiceDep) -> Response:
    """A heat map as PNG, by its number in the trace (from 0, in order of the events) or by its SHA-256.

    Each pixel is a cell of the lattice on which the model worked. Red is the share of decoder layers that the cell's
    token went through, green is 1 divided by how many cells that token stands for: yellow cells were kept, orange and
    red ones merged, black ones dropped. Scale it over the frame of the same time, or over ``region`` of that frame.
    """
    sha256 = await _sha256(service, trace_id, heat, lambda event: event.heat, "heat map")
    png = await asyncio.to_thread(service.loupe.traces.heat, trace_id, sha256)
    return Response(png, media_type="image/png", headers=_FOR_EVER)


async def _sha256(
    service: Service, trace_id: str, wanted: str, listed: Callable[[Event], Sequence[FrameRef | HeatRef]], what: str
) -> str:
    """The hash that ``wanted`` means: itself, or that of the picture with this number."""
    if not wanted.isdigit() or len(wanted) >= 64:
        return wanted
    trace = await asyncio.to_thread(service.loupe.traces.open, trace_id)
    known = [one.sha256 for event in trace.events for one in listed(event)]
    if int(wanted) >= len(known):
        raise NotFound(
            f"trace {trace_id} has {len(known)} {what}s",
            remedy="count from 0 below that number",
            field=what.partition(" ")[0],
        )
    return known[int(wanted)]


@router.delete("/{trace_id}", status_code=204, summary="Delete a trace")
async def delete(trace_id: str, service: ServiceDep) -> None:
    """Deletes a finished run with its frames."""
    await asyncio.to_thread(service.loupe.traces.remove, trace_id)
