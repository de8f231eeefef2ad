"""What a monitoring system scrapes: Prometheus text."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.answer import Answer
from api.schemas import Job


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "loupe_http_requests", "HTTP requests", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "loupe_http_seconds", "Seconds until the answer began", ["method", "route"], registry=self.registry
        )
        self.answers = Counter("loupe_answers", "Answers", ["verdict", "stopped"], registry=self.registry)
        self.answer_seconds = Histogram("loupe_answer_seconds", "Seconds a question took", registry=self.registry)
        self.frames = Counter("loupe_frames_decoded", "Frames decoded for questions", registry=self.registry)
        self.calls = Counter("loupe_tool_calls", "Tool calls for questions", ["verb"], registry=self.registry)
        self.jobs = Counter("loupe_jobs", "Ended jobs", ["kind", "status"], registry=self.registry)

    def answered(self, answer: Answer) -> None:
        """Counts an answer and what it cost."""
        self.answers.labels(answer.verdict, answer.stopped).inc()
        self.answer_seconds.observe(answer.cost.seconds)
        self.frames.inc(answer.cost.frames_decoded)
        for verb, count in answer.cost.tool_calls.items():
            self.calls.labels(verb).inc(count)

    def job_ended(self, job: Job) -> None:
        """Counts a job that ended."""
        self.jobs.labels(job.kind, job.status).inc()

    def text(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


class Measured:
    """Counts and times requests by the pattern of their route, not by their path: ids would make endless series."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = _pattern(scope)
                self._metrics.requests.labels(scope["method"], route, str(message["status"])).inc()
                self._metrics.latency.labels(scope["method"], route).observe(time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, watched)


def _pattern(scope: Scope) -> str:
    """The path with the values of its parameters replaced by their names; what no route serves is all one."""
    if "endpoint" not in scope:
        return "unknown"
    names = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    return "/".join(names.get(part, part) for part in scope["path"].split("/"))
