"""What the routes share: the facade, the settings, the jobs and the counters of one service."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from agents.loupe import Loupe
from api.asking import Runs
from api.jobs import Jobs
from api.metrics import Metrics
from configs.profile import Api

#: Tells which tools cannot be used and why.
Problems = Callable[[], Awaitable[dict[str, str]]]


async def no_problems() -> dict[str, str]:
    """For tools of this process, which are built at their first call."""
    return {}


@dataclass
class Service:
    """One running service."""

    loupe: Loupe
    settings: Api
    problems: Problems = no_problems
    metrics: Metrics = field(default_factory=Metrics)
    jobs: Jobs = field(init=False)
    runs: Runs = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.loupe, self.loupe.home / "jobs", self.metrics.job_ended)
        self.runs = Runs(self.loupe, self.metrics.answered)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


#: What a route asks for to reach the service.
ServiceDep = Annotated[Service, Depends(_service)]
