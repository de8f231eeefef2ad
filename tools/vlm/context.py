"""What a method knows about the request that it works on."""

from typing import Any

import torch

from tools.media.frames import Frames
from tools.vlm.host import Host, Inputs
from tools.vlm.method import Method


class Context:
    """One request on its way through the stages; nobody else's.

    Attributes:
        host: the model family.
        frames: the pictures of the request (those that were selected, once they are).
        question: as the user asked it.
    """

    def __init__(self, host: Host, frames: Frames, question: str) -> None:
        self.host = host
        self.frames = frames
        self.question = question
        self._inputs: Inputs | None = None
        self._memory: dict[int, dict[str, Any]] = {}

    @property
    def inputs(self) -> Inputs:
        """Pixels, grids and prompt; there after `select`."""
        if self._inputs is None:
            raise ValueError("the request has no inputs before its frames are selected")
        return self._inputs

    def enter(self, frames: Frames, inputs: Inputs) -> None:
        """Called by the engine once frames are selected and processed."""
        self.frames, self._inputs = frames, inputs

    def memory(self, method: Method) -> dict[str, Any]:
        """What ``method`` remembers from one of its functions to the next, within this request."""
        return self._memory.setdefault(id(method), {})

    def random(self, seed: int) -> torch.Generator:
        """Random numbers that are the same for the same seed, on the CPU."""
        return torch.Generator().manual_seed(seed)
