"""What a method may ask of the vision tower: numbers per patch, computed only when somebody asks."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

SignalKind = Literal["cls", "received", "head", "keys"]


@dataclass(frozen=True)
class Signal:
    """One signal of the vision tower, reduced by the connector exactly as the features are (pooling, merger groups).

    Attributes:
        kind: ``cls``: attention of the CLS token to each patch, ``[N]``; ``received``: attention that a patch receives,
            mean over all queries of its picture, ``[N]``; ``head``: attention of the tower's pooling head, ``[N]``;
            ``keys``: the attention keys, mean over heads, ``[N, d]``.
        layer: index of the tower layer (0 is the first, negative counts from the tower's last layer); None is the layer
            whose output the connector reads (``received`` in a tower with window attention: its last full-attention
            layer). ``head`` has no layer.
        heads: how the attention heads are put together.
        logits: the scaled products before the softmax instead of the attention weights (``cls`` only).
    """

    kind: SignalKind
    layer: int | None = None
    heads: Literal["mean", "sum"] = "mean"
    logits: bool = False

    def __str__(self) -> str:
        at = "" if self.layer is None else f" of layer {self.layer}"
        return f"{self.kind}{at}"


def saliency(kinds: Collection[SignalKind], source: Literal["auto", "cls", "received", "head"] = "auto") -> Signal:
    """The signal by which a tower says which patches matter.

    Args:
        kinds: what the host's tower has, ``host.signal_kinds``.
        source: ``auto`` takes ``cls`` where there is a CLS token and ``received`` elsewhere; a source named outright is
            taken as it is, and refused by `Method.check` where the tower lacks it.
    """
    if source == "auto":
        return Signal("cls" if "cls" in kinds else "received")
    return Signal(source)
