"""What `loupe doctor` looks at: this machine, the data directory, and every choice of the profile."""

import asyncio
import os
import sys
from pathlib import Path

from agents.reasoner import REASONERS
from api.client import running
from api.machine import describe
from configs.build import create, tool_names
from configs.check import Finding, check
from configs.profile import TOOLS, Profile
from tools.errors import LoupeError

#: Free memory in GiB below which the service on Ray gets into trouble.
MIN_MEMORY_GB = 3.0


def findings(profile: Profile, home: Path) -> list[Finding]:
    """All findings, the machine first."""
    return [*_machine(), *_home(profile, home), *check(profile), _reasoner(profile), *_absent(profile)]


def _machine() -> list[Finding]:
    facts = describe()
    found = [
        Finding("python", sys.version_info >= (3, 11), f"Python {facts['python']} on {facts['system']}"),
        Finding("processor", True, f"{facts['cpu']}, {facts['cores']} cores"),
    ]
    free = facts["memory_free_gb"]
    enough = free >= MIN_MEMORY_GB
    remedy = "" if enough else f"`loupe serve` wants {MIN_MEMORY_GB:g} GiB; the other commands want less"
    found.append(Finding("memory", enough, f"{free:g} of {facts['memory_gb']:g} GiB free", remedy))
    gpu = facts["gpu"] or "none; the embedded and cpu profiles need none"
    found.append(Finding("gpu", True, gpu))
    return found


def _home(profile: Profile, home: Path) -> list[Finding]:
    parent = next(folder for folder in (home, *home.parents) if folder.exists())
    writable = os.access(parent, os.W_OK)
    remedy = "" if writable else "set LOUPE_HOME to a folder that you may write to"
    found = [Finding("LOUPE_HOME", writable, f"{home} {'can' if writable else 'cannot'} be written", remedy)]
    try:
        client = running(home, profile.api.tokens[0] if profile.api.tokens else None)
    except LoupeError as error:
        return [*found, Finding("service", False, error.message, error.remedy)]
    if client is None:
        return [*found, Finding("service", True, "none runs here; commands use tools of their own process")]
    with client:
        problems = client.ready()["problems"]
    found.append(Finding("service", True, f"runs at {client.url}; commands talk to it"))
    return [*found, *(Finding(f"service.{tool}", False, why.rstrip(".")) for tool, why in problems.items())]


def _reasoner(profile: Profile) -> Finding:
    try:
        reasoner = create(REASONERS, "reasoner", profile.reasoner)
    except LoupeError as error:
        return Finding(error.field or "reasoner", False, error.message, error.remedy)
    probe = getattr(reasoner, "check", None)
    if probe is not None:
        try:
            result = probe()
            problem = asyncio.run(result) if asyncio.iscoroutine(result) else result
        except LoupeError as error:
            return Finding("reasoner", False, error.message, error.remedy)
        if problem:
            return Finding("reasoner", False, str(problem).rstrip("."))
    return Finding("reasoner", True, f"'{profile.reasoner.backend}' is ready")


def _absent(profile: Profile) -> list[Finding]:
    return [
        Finding(tool, True, "not in this profile; questions that need it are answered without it")
        for tool in TOOLS
        if tool not in tool_names(profile)
    ]
