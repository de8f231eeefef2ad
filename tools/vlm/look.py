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
        report: plain data: the account of `tools.vlm.report.Report`, and under ``heat`` how much of each patch the
            model saw: one map of 0..255 a picture with its ``time``.
    """

    text: str
    confidence: float
    tokens_in: int
    tokens_kept: int
    model: str
    report: dict[str, Any] = field(default_factory=dict)
