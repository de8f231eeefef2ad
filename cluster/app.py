"""The Serve application: all tools of a profile, started and stopped together."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig

from cluster.deployments import deployment
from cluster.readiness import failed, waiting_for
from cluster.spec import ToolSpec
from cluster.transport import ServeTransport
from configs import Profile
from configs.build import build_tool, tool_names
from tools.errors import ToolUnavailable

#: Name of the Serve application.
APP = "loupe"
#: Seconds between two looks at an application that starts.
POLL_S = 0.2
#: How often a local Ray is started before that counts as failed.
START_ATTEMPTS = 3


def specs_of(profile: Profile, home: Path) -> list[ToolSpec]:
    """The tools that ``profile`` has, with the resources that it gives them."""
    specs = []
    for name in tool_names(profile):
        size = profile.cluster.of(name)
        specs.append(
            ToolSpec(
                name=name,
                build=partial(_build, profile, name, home),
                min_replicas=size.min_replicas,
                max_replicas=size.max_replicas,
                num_cpus=size.num_cpus,
                num_gpus=size.num_gpus,
                max_ongoing_requests=size.max_ongoing_requests,
                timeout_s=size.timeout_s,
            )
        )
    return specs


class Gate:
    """The root of an application without HTTP: it only holds the tools together."""

    def __init__(self, tools: dict[str, Any]) -> None:
        self._tools = tools

    def names(self) -> list[str]:
        """Names of the tools, sorted."""
        return sorted(self._tools)


def gate(specs: Sequence[ToolSpec]) -> Any:
    """An application of the tools alone, for callers that hold handles."""
    root = serve.deployment(name="gate", ray_actor_options={"num_cpus": 0})(Gate)
    return root.bind({spec.name: deployment(spec) for spec in specs})


class Cluster:
    """A running application. Stops what it started and nothing else: a Ray that was there stays.

    Args:
        specs: the tools.
        root: the bound Serve application; without one the tools alone, reached through handles.
        host, port: where HTTP is served; port None means no HTTP.
        ray_options: further arguments of `ray.init` when a local Ray is started.
    """

    def __init__(
        self,
        specs: Sequence[ToolSpec],
        root: Any = None,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        ray_options: dict[str, Any] | None = None,
    ) -> None:
        self._specs = list(specs)
        self._root = root
        self._http = (host, port)
        self._ray_options = ray_options or {}
        self._own_ray = False
        self._own_serve = False

    def start(self, *, timeout_s: float = 600.0, on_wait: Callable[[list[str]], None] | None = None) -> ServeTransport:
        """Deploys the application and waits until all of it runs.

        Args:
            timeout_s: seconds to wait.
            on_wait: told what is still missing, whenever that changes.

        Raises:
            ToolUnavailable: when it does not come up; says what it was waiting for.
        """
        try:
            self._start_ray()
            root = self._root if self._root is not None else gate(self._specs)
            prefix = "/" if self._http[1] is not None else None
            target = serve.RunTarget(root, name=APP, route_prefix=prefix, logging_config=_logging())
            serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
            self._wait(timeout_s, on_wait)
        except BaseException:
            self.stop()
            raise
        return transport(self._specs)

    def stop(self) -> None:
        """Ends what `start` began; safe to call twice."""
        if not ray.is_initialized():
            return
        if self._own_serve:
            serve.shutdown()
            self._own_serve = False
        else:
            serve.delete(APP)
        if self._own_ray:
            ray.shutdown()
            self._own_ray = False

    def __enter__(self) -> ServeTransport:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_ray(self) -> None:
        if not ray.is_initialized():
            # No dashboard, no usage reports, no logs of workers between the lines of a command.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            logging.getLogger("ray.serve").setLevel(logging.WARNING)
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "loupe"}
            if "RAY_ADDRESS" in os.environ:
                _connect(quiet)
            else:
                # Ray has no passwords of its own here, so nothing but this machine may reach it.
                local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
                _init_local(quiet | local | self._ray_options)
            self._own_ray = True
        self._own_serve = not _serve_runs()
        host, port = self._http
        location = ProxyLocation.Disabled if port is None else ProxyLocation.HeadOnly
        options = HTTPOptions(host=host, port=port or 8000)
        serve.start(proxy_location=location, http_options=options, logging_config=_logging())

    def _wait(self, timeout_s: float, on_wait: Callable[[list[str]], None] | None) -> None:
        deadline = time.monotonic() + timeout_s
        told: list[str] | None = None
        while missing := waiting_for(APP, self._specs):
            if reason := failed(APP):
                raise ToolUnavailable(f"the service did not start: {reason}", remedy="put that right and start again")
            if on_wait is not None and missing != told:
                on_wait(missing)
                told = missing
            if time.monotonic() > deadline:
                raise ToolUnavailable(
                    f"the service is not up after {timeout_s:g} s: {'; '.join(missing)}",
                    remedy="give the cluster what is missing, or lower the numbers under 'cluster' in the profile",
                    field="cluster",
                )
            time.sleep(POLL_S)


def transport(specs: Sequence[ToolSpec]) -> ServeTransport:
    """Handles of the tools of the running application; works in a driver and inside a replica."""
    handles = {spec.name: serve.get_deployment_handle(spec.name, app_name=APP) for spec in specs}
    return ServeTransport(handles, {spec.name: spec.timeout_s for spec in specs})


def start(profile: Profile, home: Path, **options: Any) -> tuple[Cluster, ServeTransport]:
    """Starts the tools of ``profile`` over the data in ``home``; the caller stops the cluster."""
    cluster = Cluster(specs_of(profile, home), **options)
    return cluster, cluster.start()


def _build(profile: Profile, name: str, home: Path) -> object:
    """Runs inside a replica, where the tool and its libraries are imported."""
    from tools.media.library import Library

    return build_tool(profile, name, Library(home), home)


def _connect(options: dict[str, Any]) -> None:
    """Joins the Ray cluster that ``RAY_ADDRESS`` names."""
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError) as error:
        raise ToolUnavailable(
            f"the Ray cluster at {os.environ['RAY_ADDRESS']} does not let this process in "
            f"({str(error.__cause__ or error).strip().splitlines()[-1][:300]})",
            remedy="check RAY_ADDRESS; where the cluster asks for a token set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN "
            "if the token is not in ~/.ray/auth_token; without RAY_ADDRESS a local Ray is started",
            field="RAY_ADDRESS",
        ) from error


def _init_local(options: dict[str, Any]) -> None:
    """Starts Ray here. Its own parts give each other 15 seconds to come up, which a busy machine can miss with cold
    disks; the second start is faster."""
    for attempt in range(START_ATTEMPTS):
        before = {child.pid for child in psutil.Process().children()}
        try:
            ray.init(address="local", **options)
            return
        except Exception as error:  # Ray raises a bare Exception here
            ray.shutdown()
            # A start that fails half-way leaves its processes behind.
            for child in psutil.Process().children():
                if child.pid not in before:
                    child.kill()
            if attempt == START_ATTEMPTS - 1 or "timed out during startup" not in str(error):
                raise ToolUnavailable(
                    f"Ray did not start ({str(error).splitlines()[0]})",
                    remedy="free some memory and processor time, then start again; its logs are in the Ray session "
                    "folder, /tmp/ray/session_latest/logs",
                ) from error


def _serve_runs() -> bool:
    try:
        return bool(serve.status().applications) or bool(serve.status().proxies)
    except RuntimeError:
        return False


def _logging() -> LoggingConfig:
    return LoggingConfig(log_level="WARNING", enable_access_log=False)
