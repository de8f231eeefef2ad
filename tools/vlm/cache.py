"""Keys and values of unequal length: per layer in prefill, per layer and request in decoding."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerCache:
    """What one decoder layer remembers of one request.

    Attributes:
        keys, values: ``[1, Hk, L, d]``, keys after rotation.
        places: int64 ``[L]``, the prompt place that each entry stands for.
    """

    keys: Tensor
    values: Tensor
    places: Tensor

    def __len__(self) -> int:
        return self.keys.shape[2]

    def gather(self, rows: Tensor) -> "LayerCache":
        """The entries ``rows`` (bool ``[L]`` or increasing int64)."""
        return LayerCache(self.keys[:, :, rows], self.values[:, :, rows], self.places[rows])


class PrefillCache:
    """Takes the keys and values that the attention modules hand over during one prefill."""

    def __init__(self, layers: int) -> None:
        self._layers: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Called by the attention module; a later call for the same layer replaces the first."""
        self._layers[layer] = (keys, values)
        return keys, values

    def take(self, layer: int, places: Tensor) -> LayerCache:
        """What the layer handed over, with the places of its entries."""
        found = self._layers[layer]
        if found is None or found[0].shape[2] != len(places):
            held = None if found is None else found[0].shape[2]
            raise ValueError(f"decoder layer {layer} cached {held} tokens where {len(places)} attended")
        self._layers[layer] = None
        return LayerCache(found[0], found[1], places)


class RaggedCache:
    """The caches of several requests side by side, each layer and row with a length of its own.

    Entries are aligned at their newest end; what is missing before a shorter row is masked out. Room for the tokens to
    come is set aside at once, so that no step copies the past.

    Args:
        rows: for each row the caches of its layers.
        room: how many tokens may be added.
    """

    def __init__(self, rows: Sequence[Sequence[LayerCache]], room: int) -> None:
        self._step = -1
        self._longest = [max(len(row[layer]) for row in rows) for layer in range(len(rows[0]))]
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._masks: list[Tensor | None] = []
        for layer, longest in enumerate(self._longest):
            first = rows[0][layer].keys
            shape = (len(rows), first.shape[1], longest + room, first.shape[3])
            # Zeros, for a masked entry must still be a number.
            keys, values = first.new_zeros(shape), first.new_zeros(shape)
            mask = torch.ones(len(rows), 1, 1, longest + room, dtype=torch.bool, device=first.device)
            for place, row in enumerate(rows):
                start = longest - len(row[layer])
                keys[place, :, start:longest] = row[layer].keys[0]
                values[place, :, start:longest] = row[layer].values[0]
                mask[place, :, :, :start] = False
            self._keys.append(keys)
            self._values.append(values)
            self._masks.append(None if bool(mask.all()) else mask)

    def advance(self) -> None:
        """Begins the next token."""
        self._step += 1

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Called by the attention module: adds one token a row, gives all keys and values."""
        place = self._longest[layer] + self._step
        self._keys[layer][:, :, place : place + 1] = keys
        self._values[layer][:, :, place : place + 1] = values
        return self._keys[layer][:, :, : place + 1], self._values[layer][:, :, : place + 1]

    def mask(self, layer: int) -> Tensor | None:
        """bool ``[B, 1, 1, K]`` of what each row may see, or None when no row is shorter than another."""
        mask = self._masks[layer]
        return None if mask is None else mask[..., : self._longest[layer] + self._step + 1]

    def keep(self, rows: Tensor) -> None:
        """Goes on with ``rows`` (int64) only."""
        self._keys = [keys[rows] for keys in self._keys]
        self._values = [values[rows] for values in self._values]
        self._masks = [None if mask is None else mask[rows] for mask in self._masks]
