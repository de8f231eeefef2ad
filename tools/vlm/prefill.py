"""Prefill, layer by layer over the unmodified decoder layers: tokens may be dropped or merged between any two."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tools.vlm.cache import LayerCache, PrefillCache
from tools.vlm.context import Context
from tools.vlm.method import Method
from tools.vlm.primitives import probe
from tools.vlm.primitives.accounting import causal_pairs
from tools.vlm.prompt import splice
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True)
class SubBlocks:
    """Inputs and outputs of a layer's two sub-blocks, each ``[1, L, D]``, outputs before the residual is added."""

    attention_in: Tensor
    attention_out: Tensor
    feed_in: Tensor
    feed_out: Tensor


@dataclass(frozen=True)
class Prefilled:
    """What decoding starts from.

    Attributes:
        logits: float32 ``[V]`` after the last token (``[L, V]`` if all were asked for).
        caches: one a layer, of unequal lengths.
        next_position: rotary position of the next token.
        lengths, visual: tokens and visual tokens that went through each layer.
        pairs: (query, key) pairs that each layer's attention computed.
        survived: int64 ``[P]``, how many layers each patch's token went through.
    """

    logits: Tensor
    caches: list[LayerCache]
    next_position: int
    lengths: list[int]
    visual: list[int]
    pairs: list[int]
    survived: Tensor


class Prefill:
    """The state of one prefill, which methods read and the runner moves on.

    Attributes:
        context: the request.
        hidden: ``[1, L, D]``, what enters the coming layer.
        positions: ``[R, L]``, rotary positions.
        rotary: their cosines and sines, ``[1, L, d]`` each.
        places: int64 ``[L]``, the place of each row in the uncompressed prompt.
        visual: int64 ``[N]``, the rows of the visual tokens.
    """

    def __init__(
        self, context: Context, tokens: VisualTokens, methods: Sequence[Method] = (), *, repack: bool = False
    ) -> None:
        self.context = context
        self.host = context.host
        self.prompt = context.inputs.prompt
        self._tokens = tokens
        self._methods = list(methods)
        self._cache = PrefillCache(self.host.depth)
        spliced = splice(self.prompt, self.host.embedding, tokens)
        self.hidden = spliced.embeds[None]
        self.places, self.visual = spliced.places, spliced.visual
        self.positions = self.prompt.positions[:, self.places]
        self.next_position = self.prompt.next_position
        if repack:
            self._place(torch.arange(len(self.places), device=self.places.device)[None])
        self.rotary = self.host.rotate(self.hidden, self.positions[:, None])
        for method in self._overriding("positions"):
            self._place(method.positions(self))
            self.rotary = self.host.rotate(self.hidden, self.positions[:, None])
        self._attended: tuple[Tensor, int] | None = None
        self._coming = 0
        self._entered: Tensor | None = None

    # What methods read.

    @property
    def tokens(self) -> VisualTokens:
        """The visual tokens as they stand, with hidden states for features."""
        return self._tokens.with_features(self.hidden[0, self.visual])

    @property
    def last(self) -> Tensor:
        """int64 ``[1]``, the last row: the token from which the answer starts."""
        return torch.tensor([len(self.places) - 1], device=self.places.device)

    @property
    def question(self) -> Tensor:
        """int64, the rows of the question's own tokens."""
        return self.rows(self.prompt.question)

    @property
    def instruction(self) -> Tensor:
        """int64, the rows of all text after the last visual token of the uncompressed prompt, template included."""
        return self.rows(self.prompt.after)

    def rows(self, places: Tensor) -> Tensor:
        """Rows of those ``places`` of the uncompressed prompt that are still in the sequence."""
        found = torch.searchsorted(self.places, places).clamp(max=len(self.places) - 1)
        return found[self.places[found] == places]

    def normed(self, layer: int) -> Tensor:
        """``[1, L, D]``, what the attention of ``layer`` reads: of the coming layer, or of the one just run."""
        if layer == self._coming:
            hidden = self.hidden
        elif layer == self._coming - 1 and self._entered is not None:
            hidden = self._entered
        else:
            raise ValueError(f"before layer {self._coming} only that layer and the one before it can be read")
        return self.host.layers[layer].input_layernorm(hidden)  # type: ignore[no-any-return]

    def keys(self, layer: int, rows: Tensor) -> Tensor:
        """Keys ``[Hk, K, d]`` of ``rows`` in ``layer`` (the coming one or the one just run), after rotation."""
        return probe.keys(self.host.layers[layer], self.normed(layer), self.rotary, rows)

    def values(self, layer: int, rows: Tensor) -> Tensor:
        """Values ``[Hk, K, d]`` of ``rows`` in ``layer`` (the coming one or the one just run)."""
        return probe.values(self.host.layers[layer], self.normed(layer), rows)

    def attention_rows(
        self, layer: int, queries: Tensor, keys: Tensor, *, causal: bool = True, temperature: float = 1.0
    ) -> Tensor:
        """Attention weights float32 ``[H, Q, K]`` that ``layer`` gives from rows ``queries`` to rows ``keys``.

        With ``causal`` the softmax runs over everything that a query sees, as in the layer itself; without, over
        ``keys`` alone and in both directions. ``layer`` is the coming one or the one just run.
        """
        module, normed = self.host.layers[layer], self.normed(layer)
        scale = float(module.self_attn.scaling) / temperature
        query = probe.queries(module, normed, self.rotary, queries)
        every = torch.arange(len(self.places), device=self.places.device) if causal else keys
        key = probe.keys(module, normed, self.rotary, every)
        found = probe.rows(query, key, scale, queries, every, causal=causal)
        return found[..., keys] if causal else found

    def received(self, layer: int, queries: Tensor, keys: Tensor, *, causal: bool = True) -> Tensor:
        """Attention that rows ``keys`` receive from rows ``queries`` in ``layer``, mean over heads and queries ``[K]``:
        the mean of `attention_rows` without ever holding them all."""
        module, normed = self.host.layers[layer], self.normed(layer)
        scale = float(module.self_attn.scaling)
        query = probe.queries(module, normed, self.rotary, queries)
        every = torch.arange(len(self.places), device=self.places.device) if causal else keys
        key = probe.keys(module, normed, self.rotary, every)
        found = probe.received(query, key, scale, queries, every, causal=causal)
        return found[keys] if causal else found

    def attention(
        self,
        layer: int,
        normed: Tensor,
        *,
        rows: Tensor | None = None,
        mask: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The layer's own attention over some rows, output projection included; its keys and values are cached.

        Args:
            normed: ``[1, L, D]``, what the layer's input norm gave for all rows.
            rows: int64 ``[M]``, the rows that attend and are attended (repeats are allowed); all by default.
            mask: bool ``[M, M]``, true where a query (first axis) sees a key; causal by default.
            rotary: cosines and sines ``[1, M, d]`` in place of those of the rows.

        Returns:
            ``[1, M, D]``.
        """
        places = self.places if rows is None else self.places[rows]
        if rotary is None:
            rotary = self.rotary if rows is None else (self.rotary[0][:, rows], self.rotary[1][:, rows])
        output, _ = self.host.layers[layer].self_attn(
            hidden_states=normed if rows is None else normed[:, rows],
            attention_mask=None if mask is None else mask[None, None],
            position_ids=None,
            past_key_values=self._cache,
            position_embeddings=rotary,
        )
        self._attended = (places, causal_pairs(len(places)) if mask is None else int(mask.sum()))
        return output  # type: ignore[no-any-return]

    def remember(self, layer: int, keys: Tensor, values: Tensor, places: Tensor, pairs: int) -> None:
        """Caches what a method's own attention worked with, where `attention` does not fit.

        Args:
            keys, values: ``[Hk, M, d]``, keys after rotation.
            places: int64 ``[M]``, the prompt place of each.
            pairs: (query, key) pairs that were computed.
        """
        self._cache.update(keys[None], values[None], layer)
        self._attended = (places, pairs)

    # The run.

    def run(self, *, every_logit: bool = False) -> Prefilled:
        """Runs all layers."""
        caches: list[LayerCache] = []
        lengths, visual, pairs = [], [], []
        survived = torch.full_like(self._tokens.owner, self.host.depth)
        survived[self._tokens.owner < 0] = 0
        pruners = [(method, frozenset(method.prune_layers(self.host.depth))) for method in self._overriding("prune")]
        observers, attenders, cachers = (self._overriding(name) for name in ("observe", "attend", "cache"))
        for layer in range(self.host.depth):
            self._coming = layer
            for method, wanted in pruners:
                if layer in wanted:
                    before = self.tokens
                    after = method.prune(layer, before, self)
                    if after is not before:
                        survived[(before.owner >= 0) & (after.owner < 0)] = layer
                        self._shrink(after)
            lengths.append(len(self.places))
            visual.append(len(self.visual))
            self._attended = None
            entered = self.hidden
            if observers or attenders:
                self.hidden = self._in_pieces(layer, attenders, observers)
            else:
                self.hidden = self.host.layers[layer](
                    self.hidden,
                    attention_mask=None,
                    position_ids=None,
                    past_key_values=self._cache,
                    use_cache=True,
                    position_embeddings=self.rotary,
                )
            self._coming, self._entered = layer + 1, entered
            places, count = self._attended or (self.places, causal_pairs(len(self.places)))
            pairs.append(count)
            cache = self._cache.take(layer, places)
            if layer < len(self._tokens.extras):
                # DeepStack: what the host adds to the visual rows after its first layers.
                self.hidden = self.hidden.index_add(1, self.visual, self._tokens.extras[layer].to(self.hidden)[None])
            for method in cachers:
                cache = method.cache(layer, cache, self)
            caches.append(cache)
        hidden = self.hidden[0] if every_logit else self.hidden[0, -1]
        logits = self.host.logits(hidden)
        return Prefilled(logits, caches, self.next_position, lengths, visual, pairs, survived)

    def _overriding(self, function: str) -> list[Method]:
        return [method for method in self._methods if method.overrides(function)]

    def _place(self, positions: Tensor) -> None:
        self.positions = positions
        self.next_position = int(positions[:, -1].max()) + 1

    def _in_pieces(self, layer: int, attenders: Sequence[Method], observers: Sequence[Method]) -> Tensor:
        """The output of one layer run in its pieces, the same arithmetic as the whole."""
        module = self.host.layers[layer]
        normed = module.input_layernorm(self.hidden)
        output = None
        for method in attenders:
            output = method.attend(layer, normed, self)
        if output is None:
            output = self.attention(layer, normed)
        middle = self.hidden + output
        feed_in = module.post_attention_layernorm(middle)
        feed_out = module.mlp(feed_in)
        for method in observers:
            method.observe(layer, SubBlocks(normed, output, feed_in, feed_out), self)
        return middle + feed_out  # type: ignore[no-any-return]

    def _shrink(self, tokens: VisualTokens) -> None:
        """Goes on with fewer visual tokens, text and positions of the rest as they were."""
        stays = torch.ones(len(self.places), dtype=torch.bool, device=self.places.device)
        stays[self.visual] = False
        cells = self.prompt.cells[tokens.index]
        kept = torch.searchsorted(self.places, cells)
        stays[kept] = True
        hidden = self.hidden.clone()
        hidden[0, kept] = tokens.features.to(hidden)
        self.hidden = hidden[:, stays]
        if self._entered is not None:
            self._entered = self._entered[:, stays]
        self.places = self.places[stays]
        self.positions = self.positions[:, stays]
        self.rotary = (self.rotary[0][:, stays], self.rotary[1][:, stays])
        self.visual = torch.searchsorted(self.places, cells)
        self._tokens = tokens
