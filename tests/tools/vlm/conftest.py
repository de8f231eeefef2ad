"""Tiny hosts of every family, and frames to look at."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from evals import checkpoints
from tools.media.frames import Frames
from tools.vlm.host import HOSTS, Host
from tools.vlm.loading import load_host

LoadHost = Callable[..., Host]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of the tiny checkpoint of a host; each is built once."""

    @cache
    def build(name: str) -> Path:
        return checkpoints.build(name, tmp_path_factory.mktemp(name))

    return build


@pytest.fixture(scope="session")
def tiny(checkpoint: Callable[[str], Path]) -> LoadHost:
    """The tiny host of a name (and dtype); each is loaded once."""

    @cache
    def load(name: str, dtype: str = "float32") -> Host:
        return load_host(checkpoint(name), dtype=dtype)

    return load


@pytest.fixture(params=HOSTS.names())
def host(request: pytest.FixtureRequest, tiny: LoadHost) -> Host:
    """Every host in turn."""
    return tiny(request.param)


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None:
    """Every test here runs tiny models."""


def make_frames(count: int, seed: int = 0, height: int = 96, width: int = 128) -> Frames:
    """Frames of noise in which a bright square moves, half a second apart."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (count, height, width, 3), dtype=np.uint8)
    for at in range(count):
        left = (at * 9) % (width - 24)
        images[at, 30:54, left : left + 24] = (250, 40, 40)
    return Frames(times=3.0 + np.arange(count) * 0.5, images=images)
