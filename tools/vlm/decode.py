"""Greedy decoding of several requests together, each from caches of unequal length per layer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tools.vlm.cache import RaggedCache
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.method import Method
from tools.vlm.prefill import Prefilled


@dataclass
class Generation:
    """One request in decoding.

    Attributes:
        prefilled: where it starts.
        limit: how many tokens it may generate.
        method: changes its logits, if there is one; ``branch`` is the second prompt that this method asked for.
        ids: what was generated, without the token that ended it.
        chances: probability of each of ``ids`` at the host's temperature; of the ending token alone if nothing came
            before it.
        first: log-probabilities float32 ``[V]`` of the first token, at the same temperature.
    """

    context: Context
    prefilled: Prefilled
    limit: int
    method: Method | None = None
    branch: Prefilled | None = None
    ids: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    first: Tensor | None = None
    done: bool = False

    def take(self, logits: Tensor, branch: Tensor | None, stops: frozenset[int]) -> int:
        """Chooses the next token, ties going to the lower id."""
        if self.method is not None:
            logits = self.method.decode(logits, branch, self.context)
        logits = logits.float()
        chosen = int(logits.argmax())
        chances = (logits / self.context.host.temperature).log_softmax(-1)
        if self.first is None:
            self.first = chances
        ended = chosen in stops
        if not ended or not self.ids:
            self.chances.append(float(chances[chosen].exp()))
        if not ended:
            self.ids.append(chosen)
        self.done = ended or len(self.ids) >= self.limit
        return chosen


def generate(host: Host, generations: Sequence[Generation]) -> None:
    """Generates for all until each has ended; results are in ``generations``.

    Rows that have ended leave the batch. What a request generates does not depend on the others: shorter rows are
    masked, every row has its own positions, and no state is kept on the model.
    """
    chosen = [
        item.take(item.prefilled.logits, None if item.branch is None else item.branch.logits, host.stops)
        for item in generations
    ]
    rows = [(place, start) for place, item in enumerate(generations) if not item.done for start in _starts(item)]
    if not rows:
        return
    room = max(item.limit for item in generations)
    cache = RaggedCache([start.caches for _, start in rows], room)
    owner = [place for place, _ in rows]
    position = torch.tensor([start.next_position for _, start in rows], device=host.device)
    while owner:
        tokens = torch.tensor([chosen[place] for place in owner], device=host.device)
        logits = _step(host, cache, tokens, position)
        position = position + 1
        by_request: dict[int, list[Tensor]] = {}
        for row, place in enumerate(owner):
            by_request.setdefault(place, []).append(logits[row])
        for place, found in by_request.items():
            chosen[place] = generations[place].take(found[0], found[1] if len(found) > 1 else None, host.stops)
        going = [row for row, place in enumerate(owner) if not generations[place].done]
        if len(going) < len(owner):
            index = torch.tensor(going, dtype=torch.long, device=host.device)
            cache.keep(index)
            position = position[index]
            owner = [owner[row] for row in going]


def _starts(item: Generation) -> list[Prefilled]:
    return [item.prefilled] if item.branch is None else [item.prefilled, item.branch]


def _step(host: Host, cache: RaggedCache, tokens: Tensor, position: Tensor) -> Tensor:
    """Logits float32 ``[B, V]`` after one more token a row."""
    cache.advance()
    hidden = host.embedding(tokens)[:, None]
    rotary = host.rotate(hidden, position.view(1, -1, 1).expand(host.position_rows, -1, 1))
    for layer, module in enumerate(host.layers):
        hidden = module(
            hidden,
            attention_mask=cache.mask(layer),
            position_ids=None,
            past_key_values=cache,
            use_cache=True,
            position_embeddings=rotary,
        )
    return host.logits(hidden[:, 0])
