"""What is deployed: a tool, how to build it, and the resources that it may use."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ToolSpec:
    """One tool as a Ray Serve deployment.

    Attributes:
        name: name of the tool, which is the name of its deployment.
        build: makes the tool inside a replica; it and what it refers to must pickle.
        min_replicas, max_replicas: equal for a fixed number, else the bounds of autoscaling.
        num_cpus, num_gpus: what Ray reserves for a replica; fractions are fine.
        max_ongoing_requests: calls that a replica runs at a time; more wait in the caller's queue.
        timeout_s: seconds that a caller waits for one call, None for ever.
        max_batch: most calls that are joined into one where the tool can batch.
    """

    name: str
    build: Callable[[], object] = field(repr=False)
    min_replicas: int = 1
    max_replicas: int = 1
    num_cpus: float = 0.1
    num_gpus: float = 0.0
    max_ongoing_requests: int = 8
    timeout_s: float | None = 60.0
    max_batch: int = 16

    def options(self) -> dict[str, Any]:
        """Keyword arguments of `ray.serve.deployment`."""
        options: dict[str, Any] = {
            "name": self.name,
            "max_ongoing_requests": self.max_ongoing_requests,
            "ray_actor_options": {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus},
            # A busy tool may hold the interpreter lock for seconds (decoding, native inference).
            "health_check_period_s": 5.0,
            "health_check_timeout_s": 30.0,
            "graceful_shutdown_timeout_s": 5.0,
        }
        if self.min_replicas == self.max_replicas:
            return options | {"num_replicas": self.min_replicas}
        scaling = {
            "min_replicas": self.min_replicas,
            "max_replicas": self.max_replicas,
            "target_ongoing_requests": max(1, self.max_ongoing_requests // 2),
        }
        return options | {"autoscaling_config": scaling}
