"""Is it alive, can it work, how is it doing."""

from importlib.metadata import version as distribution_version

from fastapi import APIRouter, Response

from api.schemas import Ready, Version
from api.service import ServiceDep

#: Paths that need no token: probes have none.
OPEN_PATHS = ("/healthz", "/readyz")

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Alive?")
async def healthz() -> dict[str, str]:
    """Answers as long as the process can answer."""
    return {"status": "ok"}


@router.get("/readyz", summary="Ready?", responses={503: {"model": Ready}})
async def readyz(response: Response, service: ServiceDep) -> Ready:
    """200 once questions can be asked: videos can be decoded and the index can be searched. Tools beyond that may be
    missing; ``problems`` says why, and the agent goes on without them."""
    problems = await service.problems()
    ready = not problems.keys() & {"media", "store", "embed"}
    if not ready:
        response.status_code = 503
    return Ready(ready=ready, tools=tuple(service.loupe.transport.tools()), problems=problems)


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
async def metrics(service: ServiceDep) -> Response:
    """Counters and histograms as Prometheus text."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/version", summary="Version")
async def version(service: ServiceDep) -> Version:
    """Which Loupe this is and on which profile it runs."""
    return Version(version=distribution_version("loupe-video"), profile=service.loupe.profile.name)
