"""Muon for the matrices inside the layers and AdamW for all else, as one optimizer."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

#: Where the matrices lie that turn one hidden vector into another.
_HIDDEN = (".layers.", ".blocks.", ".multi_modal_projector.", ".merger.")
_TOWER = (".vision_tower.", ".visual.")


class Optimizer:
    """Muon (Jordan et al., 2024) gives every direction of a matrix the same step, so that rare ones are learnt as fast
    as common ones. Its steps are scaled to be as large as AdamW's (Liu et al., arXiv:2502.16982, section 2.2), so that
    one learning rate does for both. Embeddings, heads, biases and norms have no such directions.

    Args:
        parts: whose parameters are trained.
        decay: of matrices that are no embeddings.
    """

    def __init__(self, parts: nn.Module, decay: float) -> None:
        matrices: dict[bool, list[nn.Parameter]] = {}
        others: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in parts.named_parameters():
            tower = any(part in name for part in _TOWER)
            if parameter.ndim == 2 and any(part in name for part in _HIDDEN):
                matrices.setdefault(tower, []).append(parameter)
            else:
                others.setdefault((tower, parameter.ndim > 1 and "embed" not in name), []).append(parameter)
        self._muon = torch.optim.Muon(
            [{"params": params, "tower": tower} for tower, params in sorted(matrices.items())],
            weight_decay=decay,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = torch.optim.AdamW(
            [
                {"params": params, "tower": tower, "weight_decay": decay if decays else 0.0}
                for (tower, decays), params in sorted(others.items())
            ],
            betas=(0.9, 0.95),
            fused=True,
        )

    def rate(self, rate: float, tower: float) -> None:
        """Sets the learning rate; the vision tower's is ``tower`` times that."""
        for group in chain(self._muon.param_groups, self._adamw.param_groups):
            group["lr"] = rate * (tower if group["tower"] else 1.0)

    def zero_grad(self) -> None:
        """Takes all gradients away."""
        self._muon.zero_grad()
        self._adamw.zero_grad()

    def step(self) -> None:
        """Moves every parameter that has a gradient."""
        self._muon.step()  # type: ignore[no-untyped-call]
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where another optimizer of the same parameters stood."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])


__all__ = ["Optimizer"]
