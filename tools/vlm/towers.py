"""Vision towers run layer by layer over their unmodified modules, so that signals can be read and methods can step in.

Running the layers here, instead of hanging hooks on modules that threads share, keeps requests apart.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tools.vlm.primitives import saliency
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

#: Pictures that go through a tower together; bounds the memory of a long video.
CHUNK = 32


class Tower(ABC):
    """The vision tower of a host."""

    #: Number of layers, and whether token 0 of each picture is a CLS token.
    depth: int
    has_cls: bool
    #: Layers, at most up to the one whose output the connector reads, whose attention spans a whole picture. The last
    #: of them is the layer of a signal that names none.
    attention_layers: Sequence[int]

    @abstractmethod
    def encode(self, pixels: Tensor, grids: tuple[Grid, ...], signals: Sequence[Signal]) -> VisualTokens:
        """Patch features in raster order with the signals, from the processor's pixel tensor.

        Args:
            grids: what the connector takes, picture after picture.
        """

    def layer_index(self, signal: Signal, default: int) -> int:
        """The place of the signal's layer, 0..depth-1.

        Raises:
            ValueError: if the tower has no such layer.
        """
        layer = default if signal.layer is None else signal.layer
        if not -self.depth <= layer < self.depth:
            raise ValueError(f"the vision tower has {self.depth} layers, {signal} asks for layer {layer}")
        return layer % self.depth


@dataclass(frozen=True)
class PatchLayer:
    """A layer of a CLIP or SigLIP tower, whole or in pieces. Hidden states are ``[F, S, D]``."""

    module: Any

    def __call__(self, hidden: Tensor) -> Tensor:
        """The whole layer."""
        return self.module(hidden, None)  # type: ignore[no-any-return]

    def norm(self, hidden: Tensor) -> Tensor:
        """What the attention reads."""
        return self.module.layer_norm1(hidden)  # type: ignore[no-any-return]

    def queries(self, normed: Tensor) -> Tensor:
        """``[F, H, S, d]``."""
        return self._heads(self._attention.q_proj(normed))

    def keys(self, normed: Tensor) -> Tensor:
        """``[F, H, S, d]``."""
        return self._heads(self._attention.k_proj(normed))

    def values(self, normed: Tensor) -> Tensor:
        """``[F, H, S, d]``."""
        return self._heads(self._attention.v_proj(normed))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention with its output projection, ``[F, S, D]``; ``bias`` is added to the scaled products."""
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=self.scale)
        return self._attention.out_proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def feed(self, hidden: Tensor) -> Tensor:
        """The MLP with its norm; the caller adds the residual."""
        return self.module.mlp(self.module.layer_norm2(hidden))  # type: ignore[no-any-return]

    @property
    def scale(self) -> float:
        """Factor of the products of queries and keys."""
        return float(self._attention.scale)

    @property
    def _attention(self) -> Any:
        return self.module.self_attn

    def _heads(self, value: Tensor) -> Tensor:
        return value.view(*value.shape[:-1], -1, int(self._attention.head_dim)).transpose(1, 2)


#: The output of a layer (its index, itself) from the hidden states ``[F, S, D]`` that enter it.
Step = Callable[[int, PatchLayer, Tensor], Tensor]


class PatchTower(Tower):
    """A CLIP tower (with CLS) or a SigLIP tower (without).

    Args:
        module: the transformers vision model.
        feature_layers: which hidden states the connector reads (0 is the embedding, -1 the last layer's output).
        drop_cls: whether the connector leaves the CLS token out.
    """

    def __init__(self, module: Any, feature_layers: Sequence[int], *, drop_cls: bool) -> None:
        self.module = module
        self.layers = [PatchLayer(layer) for layer in module.encoder.layers]
        self.depth = len(self.layers)
        self.has_cls = hasattr(self.module.embeddings, "class_embedding")
        self.has_head = bool(getattr(self.module, "use_head", False))
        self.drop_cls = drop_cls and self.has_cls
        #: How many layers run before the features are read, for each feature layer.
        self.reads = [index % (self.depth + 1) for index in feature_layers]
        self.attention_layers = range(max(1, *self.reads))

    def embed(self, pixels: Tensor) -> Tensor:
        """Hidden states ``[F, S, D]`` that enter the first layer, from pixels ``[F, 3, H, W]``."""
        hidden = self.module.embeddings(pixels.to(self.module.dtype), interpolate_pos_encoding=False)
        if hasattr(self.module, "pre_layrnorm"):
            hidden = self.module.pre_layrnorm(hidden)
        return hidden  # type: ignore[no-any-return]

    def patches(self, hidden: Tensor) -> Tensor:
        """Hidden states without the CLS token, if the connector leaves it out."""
        return hidden[:, 1:] if self.drop_cls else hidden

    def encode(self, pixels: Tensor, grids: tuple[Grid, ...], signals: Sequence[Signal]) -> VisualTokens:
        """As `Tower.encode`, from pixels ``[F, 3, H, W]``; features ``[F * N, Dv]``."""
        parts = [self.run(chunk, signals) for chunk in torch.split(pixels, CHUNK)]
        values = {signal: torch.cat([found[signal].flatten(0, 1) for _, found in parts]) for signal in signals}
        return VisualTokens.full(torch.cat([features.flatten(0, 1) for features, _ in parts]), grids, values)

    def run(
        self, pixels: Tensor, signals: Sequence[Signal], step: Step | None = None
    ) -> tuple[Tensor, dict[Signal, Tensor]]:
        """Features ``[F, N, Dv]`` and signals ``[F, N, ...]`` of pictures that go through the layers together.

        Args:
            pixels: ``[F, 3, H, W]``.
            step: gives what a layer makes of the hidden states that enter it; the whole layer by default.
        """
        wanted, stop = self.plan(signals)
        hidden = self.embed(pixels)
        states = {0: hidden}
        values: dict[Signal, Tensor] = {}
        for index, layer in enumerate(self.layers[:stop]):
            for signal, at in wanted.items():
                if at == index:
                    values[signal] = self.read(layer, layer.norm(hidden), signal)
            hidden = layer(hidden) if step is None else step(index, layer, hidden)
            states[index + 1] = hidden
        for signal in signals:
            if signal.kind == "head":
                values[signal] = self.read_head(hidden, signal)
        features = torch.cat([self.patches(states[read]) for read in self.reads], dim=-1)
        return features, {signal: values[signal] for signal in signals}

    def plan(self, signals: Sequence[Signal]) -> tuple[dict[Signal, int], int]:
        """The layer at which each signal is read (those of the pooling head apart), and how many layers have to run."""
        default = self.attention_layers[-1]
        wanted = {signal: self.layer_index(signal, default) for signal in signals if signal.kind != "head"}
        if len(wanted) < len(signals):
            return wanted, self.depth
        return wanted, max([*self.reads, *(layer + 1 for layer in wanted.values())])

    def read_head(self, hidden: Tensor, signal: Signal) -> Tensor:
        """Attention ``[F, N]`` of the pooling head, from the last layer's output: where a tower has no CLS token
        (SigLIP), the head's own probe plays its part."""
        head = self.module.head
        return saliency.head_row(head.attention, head.probe, self.module.post_layernorm(hidden), signal.heads)

    def read(self, layer: PatchLayer, normed: Tensor, signal: Signal) -> Tensor:
        """One signal ``[F, N, ...]`` of a layer, from what its attention reads."""
        key = layer.keys(normed)
        if signal.kind == "keys":
            value = key.float().mean(1)
        elif signal.kind == "cls":
            value = saliency.cls_row(layer.queries(normed), key, layer.scale, heads=signal.heads, logits=signal.logits)
        else:
            value = saliency.received(layer.queries(normed), key, layer.scale, heads=signal.heads)
        return self.patches(value)


class MergedTower(Tower):
    """A Qwen vision tower: pictures packed into one sequence, whose patches lie in groups that the merger fuses.

    Its patch features are whole merger groups, ``[P, groups * Dv]``, in raster order of the merged grid: the unit that
    a method may drop before the merger.

    Args:
        module: the transformers vision model.
        prepare: gives ``(hidden, segments, window segments, rotary, group order)`` for pixels and grid sizes.
        full_layers: layers whose attention spans a whole picture; the others see windows.
        taps: layers whose output is kept for DeepStack.
    """

    has_cls = False

    def __init__(
        self,
        module: Any,
        prepare: Callable[[Tensor, Tensor], "Packed"],
        *,
        full_layers: Sequence[int],
        taps: Sequence[int] = (),
    ) -> None:
        self.module = module
        self.prepare = prepare
        self.full_layers = sorted(full_layers)
        # A tower of windows only has nothing better than its last layer.
        self.attention_layers = self.full_layers or [len(module.blocks) - 1]
        self.taps = list(taps)
        self.blocks = list(self.module.blocks)
        self.depth = len(self.blocks)
        self.unit = int(self.module.spatial_merge_unit)

    def encode(self, pixels: Tensor, grids: tuple[Grid, ...], signals: Sequence[Signal]) -> VisualTokens:
        """As `Tower.encode`, from packed pixels ``[S, channels]``; grids are those after the merger, one a slice of
        time, and give the sizes of the packed pictures."""
        merge = int(self.module.spatial_merge_size)
        sizes = torch.tensor([[1, grid.height * merge, grid.width * merge] for grid in grids], device=pixels.device)
        packed = self.prepare(pixels, sizes)
        hidden, back = packed.hidden, torch.argsort(packed.order)

        def raster(value: Tensor) -> Tensor:
            return value.view(-1, self.unit, *value.shape[1:])[back].flatten(0, 1)

        default = self.attention_layers[-1]
        wanted = {signal: self.layer_index(signal, default) for signal in signals}
        values: dict[Signal, Tensor] = {}
        taps: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            segments = packed.segments if index in self.full_layers else packed.windows
            for signal, at in wanted.items():
                if at == index:
                    value = self._read(block, hidden, segments, packed.rotary, signal)
                    values[signal] = saliency.pool_groups(raster(value), self.unit)
            hidden = block(hidden, cu_seqlens=segments, position_embeddings=packed.rotary)
            if index in self.taps:
                taps.append(raster(hidden).view(-1, self.unit * hidden.shape[-1]))
        features = raster(hidden).view(-1, self.unit * hidden.shape[-1])
        ordered: Mapping[Signal, Tensor] = {signal: values[signal] for signal in signals}
        return VisualTokens.full(features, grids, ordered, tuple(taps))

    def _read(
        self, block: Any, hidden: Tensor, segments: Tensor, rotary: tuple[Tensor, Tensor], signal: Signal
    ) -> Tensor:
        attention = block.attn
        length = len(hidden)
        mixed = attention.qkv(block.norm1(hidden)).reshape(length, 3, attention.num_heads, -1)
        query, key = (rotate(part, *rotary) for part in (mixed[:, 0], mixed[:, 1]))
        if signal.kind == "keys":
            return key.float().mean(1)
        bounds = segments.tolist()
        found = []
        for start, end in pairwise(bounds):
            q, k = (part[start:end].transpose(0, 1)[None] for part in (query, key))
            # Scores of pictures of one size compare as they are; within windows they sum to one a window.
            found.append(saliency.received(q, k, float(attention.scaling), heads=signal.heads)[0])
        return torch.cat(found)


@dataclass(frozen=True)
class Packed:
    """What the layers of a packed tower take.

    Attributes:
        hidden: ``[S, D]`` in the tower's own order.
        segments, windows: int32 bounds of pictures and of attention windows in the sequence.
        rotary: cosines and sines ``[S, d]``.
        order: int64 ``[P]``, the raster place of each merger group in the tower's order.
    """

    hidden: Tensor
    segments: Tensor
    windows: Tensor
    rotary: tuple[Tensor, Tensor]
    order: Tensor


def rotate(value: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of ``value [S, H, d]`` with ``cos`` and ``sin`` ``[S, d]``, computed in float32."""
    wide = value.float()
    first, second = wide.chunk(2, dim=-1)
    turned = wide * cos[:, None].float() + torch.cat([-second, first], dim=-1) * sin[:, None].float()
    return turned.to(value.dtype)
