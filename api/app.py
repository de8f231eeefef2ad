"""The FastAPI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from agents.loupe import Loupe
from api import problems
from api.limits import BearerAuth, BodyLimit
from api.metrics import Measured
from api.routes import ask, health, jobs, methods, traces, videos
from api.schemas import Problem
from api.service import Problems, Service, no_problems
from configs.profile import Api

_DESCRIPTION = """
Loupe answers hard questions about long videos and shows the proof.

Upload or register a video, wait for its job, ask. Every answer carries citations (video, seconds, box, quote) that a
person can open and check, the verdict of a second look at each of them, what it cost, and the id of a trace with every
step. Errors are problem details (RFC 9457) with the `field` at fault and the `remedy`.
"""
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "model": Problem,
        "description": "What was wrong, which field, and what to do.",
        "content": {problems.PROBLEM_JSON: {}},
    },
    "5XX": {
        "model": Problem,
        "description": "A tool that is down, or an unexpected failure with an incident id.",
        "content": {problems.PROBLEM_JSON: {}},
    },
}


def create_app(loupe: Loupe, settings: Api, problems_of_tools: Problems = no_problems) -> FastAPI:
    """The HTTP service over ``loupe``.

    Args:
        settings: where videos may come from, how large they may be, who is let in.
        problems_of_tools: tells which tools cannot be used and why, for ``/readyz``.
    """
    service = Service(loupe, settings, problems_of_tools)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.jobs.recover()
        yield
        await service.runs.close()
        await service.jobs.close()

    app = FastAPI(
        title="Loupe",
        version=version("loupe-video"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        responses=_ERRORS,
    )
    app.state.service = service
    problems.install(app)
    for module in (videos, jobs, ask, traces, methods):
        app.include_router(module.router, prefix="/v1")
    app.include_router(health.router)
    # The last one added is the outermost: strangers are turned away before a byte of their body is read.
    app.add_middleware(BodyLimit, uploads="/v1/videos", max_upload=settings.max_upload_mb * 2**20)
    app.add_middleware(BearerAuth, tokens=settings.tokens, open_paths=health.OPEN_PATHS)
    app.add_middleware(Measured, metrics=service.metrics)
    return app
