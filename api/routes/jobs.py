"""Jobs: what is being indexed, how far it is, and stopping it."""

from fastapi import APIRouter

from api.schemas import Job
from api.service import ServiceDep

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("", summary="List jobs")
async def listing(service: ServiceDep) -> list[Job]:
    """All jobs, newest first."""
    return service.jobs.list()


@router.get("/{job_id}", summary="Look up a job")
async def one(job_id: str, service: ServiceDep) -> Job:
    """Status, progress in seconds of video, and the problem where it failed."""
    return service.jobs.get(job_id)


@router.delete("/{job_id}", summary="Stop a job")
async def cancel(job_id: str, service: ServiceDep) -> Job:
    """Stops a job under way. What it has indexed stays; indexing again goes on from there."""
    return await service.jobs.cancel(job_id)
