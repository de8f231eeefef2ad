"""TC-LLaVA: rotary positions that also tell the frame, and frames whose tokens see each other in full."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tools.errors import BadInput
from tools.vlm.host import Inputs
from tools.vlm.method import Method, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.tokens import Grid, grid_positions


@dataclass(frozen=True, kw_only=True)
class TcLlava(Method):
    """TC-LLaVA, arXiv 2409.03206: Temporal-Aware Dual RoPE and the Frame-wise Block Causal mask.

    A token is rotated by its place n in the prompt and once more by the index t of its frame, on the same channels,
    which is one rotation by ``n + gamma t``. Text goes on with the t of the frame before it. In prefill the tokens of a
    frame see all of that frame, whatever their order, beside everything before it; text stays causal. It spends no
    fewer tokens, and a model gains by it only once it was tuned with it.

    Hosts with positions of three rows get the second rotation on top of all three, which the paper does not treat. A
    still and its crops are one frame. The paper trains with what amounts to ``gamma=1``; at 0 RoPE is the host's own.

    Attributes:
        gamma: how far a frame shifts the positions of all that follows, 0 or more.
        mask: ``frame``: full attention inside a frame; ``causal``: the host's own mask.
    """

    title: ClassVar[str] = (
        "TC-LLaVA: Rethinking the Transfer from Image to Video Understanding with Temporal Considerations"
    )
    arxiv: ClassVar[str | None] = "2409.03206"
    number: ClassVar[int | None] = 21
    family: ClassVar[str] = "positions and mask"
    stage: ClassVar[Stage] = "attend"
    training_free: ClassVar[bool] = False

    gamma: float = 1.0
    mask: Literal["frame", "causal"] = "frame"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise BadInput(f"gamma={self.gamma} cannot order frames", remedy="use 0 or more", field="gamma")

    def reach(self, inputs: Inputs) -> float:
        """The shift of the last frame."""
        return self.gamma * int(_frames(inputs.grids)[-1])

    def positions(self, prefill: Prefill) -> Tensor:
        """``n + gamma t``, float32 ``[R, L]``."""
        if self.gamma == 0:
            return prefill.positions
        time = torch.cummax(_frame_of_rows(prefill), 0).values.clamp(min=0)
        return prefill.positions + self.gamma * time

    def attend(self, layer: int, normed: Tensor, prefill: Prefill) -> Tensor | None:
        """Attention under the frame-wise mask."""
        if self.mask == "causal":
            return None
        memory = prefill.context.memory(self)
        # The mask lasts until tokens are pruned.
        if memory.get("rows") != len(prefill.places):
            memory.update(rows=len(prefill.places), mask=frame_causal(_frame_of_rows(prefill)))
        return prefill.attention(layer, normed, mask=memory["mask"])

    @classmethod
    def identity(cls) -> "TcLlava":
        """The host's own positions and mask."""
        return cls(gamma=0.0, mask="causal")

    @classmethod
    def examples(cls) -> tuple["TcLlava", ...]:
        """The published setting, and each half alone."""
        return (cls(), cls(gamma=2.5, mask="causal"), cls(gamma=0.0))


def frame_causal(frame: Tensor) -> Tensor:
    """bool ``[L, L]``, who sees whom: everything before oneself, and one's own frame.

    Args:
        frame: int64 ``[L]``, the frame of each row, or -1 outside all frames.
    """
    same = (frame[:, None] == frame[None]) & (frame >= 0)
    return same.logical_or_(torch.ones_like(same).tril_())


def _frames(grids: tuple[Grid, ...]) -> Tensor:
    """int64, the frame that each grid belongs to: a mosaic is another view of the picture before it."""
    return torch.tensor([grid.part != "mosaic" for grid in grids]).long().cumsum(0) - 1


def _frame_of_rows(prefill: Prefill) -> Tensor:
    """int64 ``[L]``, the frame of each row, -1 for text and newlines."""
    grids = prefill.context.inputs.grids
    cells = prefill.prompt.slots[prefill.places]
    frame = _frames(grids)[grid_positions(grids)[:, 0]].to(cells.device)
    return torch.where(cells >= 0, frame[cells.clamp(min=0)], -1)
