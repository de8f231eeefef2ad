"""Small real tools, and one Ray for the tests that need it."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tools.errors import BadInput, ProfileError


class Media:
    """Makes pictures; knows which process it lives in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pid(self) -> int:
        return os.getpid()

    def frames(self, count: int, side: int = 64) -> npt.NDArray[np.uint8]:
        rows = np.arange(count, dtype=np.uint8)
        return np.broadcast_to(rows[:, None, None, None], (count, side, side, 3)).copy()

    def damaged(self) -> None:
        raise BadInput("second 70 is outside the video", remedy="ask for 0-60", field="span")

    def broken(self) -> None:
        raise ZeroDivisionError("nobody expected this")

    def slow(self, seconds: float) -> str:
        time.sleep(seconds)
        return "done"

    def die_once(self, name: str) -> str:
        """Ends its process the first time that it is called with ``name``, as a crashing decoder would."""
        mark = self.folder / name
        if not mark.exists():
            mark.touch()
            os._exit(1)
        return f"survived {name}"

    def frames_after_death(self, name: str, count: int) -> npt.NDArray[np.uint8]:
        self.die_once(name)
        return self.frames(count)

    def die(self) -> None:
        os._exit(1)

    def close(self) -> None:
        """Nothing to let go of."""


class Ocr:
    """Reads a picture's number."""

    def pid(self) -> int:
        return os.getpid()

    def read(self, frames: npt.NDArray[np.uint8], *, scale: int = 1) -> list[int]:
        return [int(frame[0, 0, 0]) * scale for frame in frames]

    def both(self, left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> tuple[int, int]:
        return len(left), len(right)


class Embed:
    """Row i of the result is the length of text i, and how many rows came together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.largest = 0

    def texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if any(text == "bad" for text in texts):
            raise BadInput("a text cannot be embedded", remedy="leave it out", field="texts")
        with self._lock:
            self.largest = max(self.largest, len(texts))
            time.sleep(0.05)
        return np.array([[len(text)] for text in texts], dtype=np.float32)

    def largest_batch(self) -> int:
        return self.largest


class Missing:
    """A tool whose model is not there."""

    def __init__(self) -> None:
        raise ProfileError("the checkpoint 'nowhere' is missing", remedy="download it", field="vlm.model")


def builders(folder: Path) -> dict[str, Any]:
    return {"media": partial(Media, folder), "ocr": Ocr, "embed": Embed}


@pytest.fixture(scope="session")
def ray_options() -> dict[str, Any]:
    return {"num_cpus": 2, "object_store_memory": 200 * 2**20}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, ray_options: dict[str, Any]) -> Iterator[SimpleNamespace]:
    """The tools above, and one that cannot be built, on Ray Serve."""
    import ray
    from ray import cloudpickle

    from cluster.app import Cluster
    from cluster.spec import ToolSpec

    # Replicas cannot import a test module, so its classes travel with their code.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    folder = tmp_path_factory.mktemp("served")
    seconds = {"media": 20.0}
    made = builders(folder) | {"vlm": Missing}
    specs = [ToolSpec(name, build, timeout_s=seconds.get(name, 20.0)) for name, build in made.items()]
    cluster = Cluster(specs, ray_options=ray_options)
    transport = cluster.start(timeout_s=120)
    yield SimpleNamespace(transport=transport, folder=folder, specs=specs)
    cluster.stop()
    assert not ray.is_initialized()
