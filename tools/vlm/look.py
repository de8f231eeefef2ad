"""The result of a look, as it travels between tools."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Look:
    """What a vision-language model said about some frames.

    Attributes:
        text: the answer.
        confidence: how sure the model was, 0..1 (see `tools.vlm.confidence`).
        tokens_in: visual tokens without compression.
        tokens_kept: visual tokens that the decoder worked on, mean over its layers.
        model: the checkpoint.
        report: plain data: the account of `tools.vlm.report.Report`, and under ``heat`` what the model saw of each
            picture: its ``time`` and ``part``, the ``region`` of the picture that the maps cover (x0, y0, x1, y1 in
            fractions, None for all of it), and rows of numbers a patch: ``map``, how much of it was seen, 0..255;
            ``layers``, the share of decoder layers that its token went through, 0..255; ``mass``, how many patches
            that token stands for, 0 where it was dropped; ``token``, which token it is, -1 where it was dropped.
    """

    text: str
    confidence: float
    tokens_in: int
    tokens_kept: int
    model: str
    report: dict[str, Any] = field(default_factory=dict)
