"""FLOPs and cache bytes of a decoder, in closed form from its config.

A multiplication with its addition counts as two. Attention counts the pairs that a causal mask allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a Llama-type decoder: gated MLP, grouped-query attention."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "DecoderShape":
        """The sizes in a transformers text config."""
        heads = int(config.num_attention_heads)
        return cls(
            layers=int(config.num_hidden_layers),
            width=int(config.hidden_size),
            inner=int(config.intermediate_size),
            heads=heads,
            kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
            head_width=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
            vocabulary=int(config.vocab_size),
        )

    @property
    def token_flops(self) -> int:
        """Work of one token in one layer apart from attention products: four projections and three MLP matrices."""
        queries, keys = self.heads * self.head_width, self.kv_heads * self.head_width
        return 2 * self.width * (2 * queries + 2 * keys + 3 * self.inner)

    @property
    def pair_flops(self) -> int:
        """Work of one (query, key) pair in one layer: the product of scores and that of values, all heads."""
        return 4 * self.heads * self.head_width


def causal_pairs(tokens: int) -> int:
    """Pairs that a causal mask allows among ``tokens``."""
    return tokens * (tokens + 1) // 2


def layer_flops(shape: DecoderShape, tokens: int, pairs: int | None = None) -> int:
    """Prefill work of one layer over ``tokens`` tokens; ``pairs`` attended pairs, all causal ones by default."""
    return tokens * shape.token_flops + (causal_pairs(tokens) if pairs is None else pairs) * shape.pair_flops


def prefill_flops(shape: DecoderShape, tokens: Sequence[int], pairs: Sequence[int] | None = None) -> int:
    """Prefill work of all layers, ``tokens[i]`` tokens in layer i, plus the logits of the last token."""
    attended = [None] * len(tokens) if pairs is None else pairs
    work = sum(layer_flops(shape, count, pair) for count, pair in zip(tokens, attended, strict=True))
    return work + 2 * shape.width * shape.vocabulary


def kv_bytes(shape: DecoderShape, entries: Sequence[int], element_bytes: int) -> int:
    """Bytes of keys and values, ``entries[i]`` cached tokens in layer i."""
    return 2 * shape.kv_heads * shape.head_width * element_bytes * sum(entries)
