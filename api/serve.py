"""The service on Ray Serve: HTTP and the agent in front, a deployment for each tool behind."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from ray import serve

from agents.loupe import Loupe
from api.app import create_app
from api.client import SERVICE_FILE
from cluster.app import Cluster, specs_of
from cluster.deployments import deployment
from cluster.transport import ServeTransport
from configs import Profile, home_dir, load_profile


class Ingress:
    """HTTP and the agent. One replica: it keeps the jobs under way."""

    def __init__(self, profile: Profile, home: Path, handles: dict[str, Any]) -> None:
        self._profile = profile
        timeouts: dict[str, float | None] = {name: profile.cluster.of(name).timeout_s for name in handles}
        self._transport = ServeTransport(handles, timeouts)
        self._loupe = Loupe.open(profile, home, self._transport)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._loupe, self._profile.api, self._transport.problems)


def application(profile: Profile, home: Path) -> Any:
    """The bound Serve application of a profile over the data in ``home``."""
    size = profile.cluster.api
    root = serve.deployment(
        name="api",
        num_replicas=1,
        max_ongoing_requests=size.max_ongoing_requests,
        ray_actor_options={"num_cpus": size.num_cpus, "num_gpus": size.num_gpus},
        health_check_timeout_s=30.0,
        graceful_shutdown_timeout_s=10.0,
    )(serve.ingress()(Ingress))
    return root.bind(profile, home, {spec.name: deployment(spec) for spec in specs_of(profile, home)})


class Arguments(BaseModel):
    """Arguments of `build` in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    profile: str | None = None
    home: str | None = None


def build(args: Arguments) -> Any:
    """The application for Serve config files: ``import_path: api.serve:build``, ``args: {profile: ..., home: ...}``."""
    home = Path(args.home) if args.home else home_dir()
    return application(load_profile(args.profile), home)


class Running:
    """The service as a command holds it.

    Args:
        host, port: where to listen; port 0 takes a free one.
        ray_options: further arguments for a local Ray.
    """

    def __init__(
        self, profile: Profile, home: Path, host: str, port: int, *, ray_options: dict[str, Any] | None = None
    ) -> None:
        self.home = home.absolute()
        self.port = port or free_port(host)
        self.url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.port}"
        self._cluster = Cluster(
            specs_of(profile, self.home),
            application(profile, self.home),
            host=host,
            port=self.port,
            ray_options=ray_options,
        )

    def start(self, on_wait: Callable[[list[str]], None] | None = None) -> None:
        """Starts it, waits until it runs and tells other commands where it is."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._cluster.start(on_wait=on_wait)
        draft = self.home / f".{SERVICE_FILE}.tmp"
        draft.write_text(json.dumps({"url": self.url, "pid": os.getpid()}))
        draft.replace(self.home / SERVICE_FILE)

    def stop(self) -> None:
        """Stops what `start` started."""
        file = self.home / SERVICE_FILE
        try:
            mine = json.loads(file.read_text()).get("pid") == os.getpid()
        except (OSError, ValueError):
            mine = False
        if mine:
            file.unlink(missing_ok=True)
        self._cluster.stop()


def free_port(host: str) -> int:
    """A port of ``host`` that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
