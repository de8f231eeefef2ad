"""What a look cost and which patches the model saw."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from tools.vlm.tokens import Grid

Number = TypeVar("Number", np.float32, np.int64)


@dataclass(frozen=True)
class StageCount:
    """Visual tokens after one method of one stage."""

    stage: str
    method: str
    tokens: int


@dataclass(frozen=True)
class Report:
    """The account of one look.

    Attributes:
        host, checkpoint, methods: what ran.
        frames_in, frames_kept: pictures before and after selection.
        tokens_in: visual tokens without compression, of the frames that were kept.
        stages: visual tokens after each method that changed them before the decoder.
        layers: visual tokens that went through each decoder layer.
        flops, flops_full: decoder prefill work, and that of the same prompt uncompressed (the vision tower is not in).
        kv_bytes, kv_bytes_full: keys and values held after prefill, and uncompressed.
        unknown: words of the question that the model never met in its training, where the checkpoint tells.
        seconds: per stage: select, prepare (processor), encode, connect, merge, prefill (prune, attend and cache are in
            it), decode (shared by the requests of a batch).
    """

    host: str
    checkpoint: str
    methods: tuple[str, ...]
    frames_in: int
    frames_kept: int
    tokens_in: int
    stages: tuple[StageCount, ...]
    layers: tuple[int, ...]
    flops: int
    flops_full: int
    kv_bytes: int
    kv_bytes_full: int
    unknown: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def tokens_kept(self) -> int:
        """Visual tokens that the decoder worked on, mean over its layers, rounded."""
        return round(sum(self.layers) / len(self.layers))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {**asdict(self), "tokens_kept": self.tokens_kept}


@dataclass(frozen=True)
class Provenance:
    """Where every patch went, for a heat map.

    Attributes:
        grids: the pictures.
        owner: int64 ``[P]``, the token that each patch went to before the decoder, or -1.
        mass: float32 ``[N]``, patches of each of these tokens.
        survived: int64 ``[P]``, how many decoder layers the patch's token went through.
        depth: number of decoder layers.
    """

    grids: tuple[Grid, ...]
    owner: npt.NDArray[np.int64]
    mass: npt.NDArray[np.float32]
    survived: npt.NDArray[np.int64]
    depth: int

    def maps(self) -> list[npt.NDArray[np.float32]]:
        """How much of each patch the model saw, 0..1, ``[h, w]`` a picture: the share of decoder layers that its token
        went through, divided by how many patches the token stood for."""
        mass = self.mass[np.clip(self.owner, 0, None)] if len(self.mass) else np.ones(len(self.owner), np.float32)
        seen = np.where(self.owner >= 0, self.survived / self.depth / np.maximum(mass, 1), 0).astype(np.float32)
        return [part.reshape(grid.height, grid.width) for grid, part in self._pictures(seen)]

    def layers(self) -> list[npt.NDArray[np.float32]]:
        """The share of decoder layers that each patch's token went through, 0..1, ``[h, w]`` a picture."""
        share = np.where(self.owner >= 0, self.survived / self.depth, 0).astype(np.float32)
        return [part.reshape(grid.height, grid.width) for grid, part in self._pictures(share)]

    def masses(self) -> list[npt.NDArray[np.float32]]:
        """How many patches each patch's token stands for, 0 where it was dropped, ``[h, w]`` a picture."""
        mass = np.zeros(len(self.owner), np.float32)
        mass[self.owner >= 0] = self.mass[self.owner[self.owner >= 0]]
        return [part.reshape(grid.height, grid.width) for grid, part in self._pictures(mass)]

    def tokens(self) -> list[npt.NDArray[np.int64]]:
        """The token that each patch went to before the decoder, -1 where it was dropped, ``[h, w]`` a picture."""
        return [part.reshape(grid.height, grid.width) for grid, part in self._pictures(self.owner)]

    def _pictures(self, values: npt.NDArray[Number]) -> Iterator[tuple[Grid, npt.NDArray[Number]]]:
        start = 0
        for grid in self.grids:
            yield grid, values[start : start + grid.cells]
            start += grid.cells


class Clock:
    """Seconds per stage of one request; on a GPU it waits for the work to be done."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Adds the time spent inside to ``stage``."""
        self._wait()
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self._device)
