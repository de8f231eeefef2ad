"""What a starting service is waiting for, in words."""

import re
from collections.abc import Sequence
from typing import Any

import ray
from ray import serve

from cluster.spec import ToolSpec

_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Unavailable|BadInput|NotFound)\b.*:")


def waiting_for(app: str, specs: Sequence[ToolSpec]) -> list[str]:
    """One sentence for each deployment of ``app`` that does not run yet; empty when all of them do.

    A deployment that wants more than the cluster has or has left is said to wait for exactly that.
    """
    overview = serve.status().applications.get(app)
    if overview is None:
        return [f"the application '{app}' is not deployed yet"]
    total, free = ray.cluster_resources(), ray.available_resources()
    wants = {spec.name: {"CPU": spec.num_cpus, "GPU": spec.num_gpus} for spec in specs}
    reasons = []
    for name, state in overview.deployments.items():
        if state.status.value == "HEALTHY":
            continue
        lacking = lack(wants.get(name, {}), total, free)
        if lacking and not _starting(state):
            reasons.append(f"{name}: {lacking}")
        else:
            # Serve says after half a minute that a replica is not scheduled yet; with nothing lacking it just starts.
            slow = not state.message or "to be scheduled" in state.message or "to initialize" in state.message
            reasons.append(f"{name}: {'starting' if slow else _brief(state.message)}")
    if not reasons and overview.status.value != "RUNNING":
        reasons.append(f"the application is {overview.status.value.lower()}")
    return reasons


def failed(app: str) -> str | None:
    """Why the deployment of ``app`` has failed for good, or None."""
    overview = serve.status().applications.get(app)
    if overview is not None and overview.status.value == "DEPLOY_FAILED":
        texts = [overview.message, *(state.message for state in overview.deployments.values())]
        return next((brief for text in reversed(texts) if (brief := _brief(text))), "Ray Serve gave no reason")
    return None


def lack(wanted: dict[str, float], total: dict[str, float], free: dict[str, float]) -> str | None:
    """What of ``wanted`` the cluster lacks: "waiting for 1 GPU (the cluster has none)", or None."""
    for resource, amount in wanted.items():
        if amount > free.get(resource, 0.0):
            has = total.get(resource, 0.0)
            state = "the cluster has none" if has == 0 else f"{free.get(resource, 0.0):g} of {has:g} free"
            return f"waiting for {amount:g} {resource} ({state})"
    return None


def _brief(message: str) -> str:
    """The telling line of a status message: of a traceback the exception, else the first sentence."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        return next((line for line in reversed(lines) if _EXCEPTION.match(line)), lines[0])[:300]
    return lines[0].split(". ")[0][:300] if lines else ""


def _starting(state: Any) -> bool:
    """Whether a replica already has its resources; it then loads code and models."""
    return any(count for replica, count in state.replica_states.items() if replica.value == "RUNNING")
