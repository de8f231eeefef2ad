"""What this machine is, for figures that are to be compared and for `loupe doctor`."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

#: Packages whose versions decide how fast things are.
PACKAGES = ("loupe-video", "av", "numpy", "onnxruntime", "torch", "ray", "qdrant-edge-py", "langgraph", "fastapi")


def describe() -> dict[str, Any]:
    """Processor, cores, memory in GiB, graphics processors, system and versions."""
    memory = psutil.virtual_memory()
    return {
        "cpu": _cpu(),
        "cores": psutil.cpu_count() or 1,
        "memory_gb": round(memory.total / 2**30, 1),
        "memory_free_gb": round(memory.available / 2**30, 1),
        "gpu": _gpu(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    asked = [command, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    return "; ".join(done.stdout.strip().splitlines()) or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
