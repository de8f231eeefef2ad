"""The published systems, and which of them work here."""

import asyncio

from fastapi import APIRouter

from api.catalogue import System, systems

router = APIRouter(prefix="/methods", tags=["methods"])


@router.get("", summary="List methods")
async def listing() -> list[System]:
    """All published systems by number, then the baselines. ``plugins`` are the names under which one is asked for."""
    # The classes are imported to be looked at, which takes seconds the first time.
    return await asyncio.to_thread(systems)
