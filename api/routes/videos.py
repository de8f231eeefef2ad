"""Videos: upload, register by address, list, look up, delete."""

import asyncio
from collections.abc import Iterator
from typing import BinaryIO

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from api.schemas import Registered, RegisterRequest, VideoState
from api.service import Service, ServiceDep
from api.sources import register, upload
from tools.errors import BadInput
from tools.media.video import Video

router = APIRouter(prefix="/videos", tags=["videos"])

_PIECE = 1 << 20
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The media file."},
        "name": {"type": "string", "description": "What to call it; the file's name if absent."},
        "index": {"type": "boolean", "default": True, "description": "Make it searchable at once."},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": RegisterRequest.model_json_schema()},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}


@router.post("", status_code=202, openapi_extra=_BODY, summary="Upload or register a video")
async def add(request: Request, response: Response, service: ServiceDep) -> Registered:
    """Takes a file as ``multipart/form-data``, or the address of one as JSON.

    Answers 202 with the job that indexes it, or 201 where ``index`` is false or the video is searchable already. The
    same bytes are the same video, however often they come.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=10) as form:
            video, index = await _from_form(service, form)
    elif kind in ("application/json", ""):
        try:
            wanted = RegisterRequest.model_validate_json(await request.body())
        except ValidationError as error:
            raise RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in error.errors()]) from error
        video = await asyncio.to_thread(register, service.loupe.library, service.settings, wanted.uri, wanted.name)
        index = wanted.index
    else:
        raise BadInput(
            f"a video cannot come as '{kind[:80]}'",
            remedy="send multipart/form-data with a part 'file', or JSON with 'uri'",
            field="content-type",
        )
    if not index or service.loupe.indexer.indexed(video.id):
        response.status_code = 201
        return Registered(video=video)
    job = service.jobs.start(video.id)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return Registered(video=video, job=job)


@router.get("", summary="List videos")
async def listing(service: ServiceDep) -> list[VideoState]:
    """All registered videos by name."""

    def read() -> list[VideoState]:
        indexed = service.loupe.indexer.indexed
        return [VideoState(video=video, indexed=indexed(video.id)) for video in service.loupe.library.list()]

    return await asyncio.to_thread(read)


@router.get("/{video_id}", summary="Look up a video")
async def one(video_id: str, service: ServiceDep) -> VideoState:
    """One registered video."""
    video = service.loupe.library.get(video_id)
    return VideoState(video=video, indexed=service.loupe.indexer.indexed(video.id))


@router.post("/{video_id}/index", status_code=202, summary="Index a video")
async def index(video_id: str, service: ServiceDep, response: Response) -> Registered:
    """Starts indexing, or goes on with it after an interruption; 200 where there is nothing to do."""
    video = service.loupe.library.get(video_id)
    if service.loupe.indexer.indexed(video.id):
        response.status_code = 200
        return Registered(video=video)
    return Registered(video=video, job=service.jobs.start(video.id))


@router.delete("/{video_id}", status_code=204, summary="Delete a video")
async def delete(video_id: str, service: ServiceDep) -> None:
    """Forgets a video and its clips, stops its indexing, and deletes its bytes if they were uploaded."""
    service.loupe.library.get(video_id)
    await service.jobs.cancel_video(video_id)
    await service.loupe.remove(video_id)


async def _from_form(service: Service, form: FormData) -> tuple[Video, bool]:
    file, name, index = form.get("file"), form.get("name"), form.get("index", "true")
    if not isinstance(file, UploadFile):
        raise BadInput("the form has no file", remedy="send it as the part 'file'", field="file")
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= 200):
        raise BadInput("a name has 1 to 200 characters", remedy="send a shorter one or none", field="name")
    if str(index).lower() not in ("true", "false", "1", "0"):
        raise BadInput(f"'{str(index)[:40]}' is neither true nor false", remedy="send true or false", field="index")
    pieces = _pieces(file.file)
    filename = file.filename or ""
    video = await asyncio.to_thread(upload, service.loupe.library, service.settings, filename, pieces, name)
    return video, str(index).lower() in ("true", "1")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
