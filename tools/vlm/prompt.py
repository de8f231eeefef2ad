"""The prompt as the host's processor builds it, and the one place where visual tokens are spliced into it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tools.vlm.tokens import VisualTokens

#: Slots that are no cell: a text token, and a vector that the host itself puts between the cells (a newline).
TEXT = -1
FIXED = -2


@dataclass(frozen=True)
class Prompt:
    """The uncompressed prompt of one request, L places long.

    Attributes:
        ids: int64 ``[L]``, token ids, placeholders included.
        slots: int64 ``[L]``: the cell (0..P-1, increasing) whose token belongs here, or `TEXT`, or `FIXED`.
        fixed: ``[F, D]``, the vectors of the places marked `FIXED`, in order.
        positions: int64 ``[R, L]``, rotary positions: one row, or three (t, y, x) for M-RoPE.
        next_position: position of the first generated token.
        question: int64, places of the question's own tokens (without the chat template).
    """

    ids: Tensor
    slots: Tensor
    fixed: Tensor
    positions: Tensor
    next_position: int
    question: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def cells(self) -> Tensor:
        """int64 ``[P]``, the place of each cell."""
        return torch.nonzero(self.slots >= 0)[:, 0]

    @property
    def after(self) -> Tensor:
        """int64, places of the text after the last cell: the instruction with its template."""
        cells = self.cells
        start = int(cells[-1]) + 1 if len(cells) else 0
        places = torch.arange(start, len(self), device=self.ids.device)
        return places[self.slots[start:] == TEXT]


@dataclass(frozen=True)
class Spliced:
    """A prompt with its visual tokens in it.

    Attributes:
        embeds: ``[L', D]``.
        places: int64 ``[L']``, the prompt place of each row, increasing.
        visual: int64 ``[N]``, the row of each visual token.
    """

    embeds: Tensor
    places: Tensor
    visual: Tensor


def splice(prompt: Prompt, embedding: torch.nn.Module, tokens: VisualTokens) -> Spliced:
    """Puts ``tokens`` where their cells are, drops the places of all other cells, and embeds the text."""
    cells = prompt.cells[tokens.index]
    text = torch.nonzero(prompt.slots == TEXT)[:, 0]
    fixed = torch.nonzero(prompt.slots == FIXED)[:, 0]
    places, order = torch.sort(torch.cat([text, fixed, cells]))
    words = embedding(prompt.ids[text])
    rows = torch.cat([words, prompt.fixed.to(words), tokens.features.to(words)])
    visual = torch.searchsorted(places, cells)
    return Spliced(embeds=rows[order], places=places, visual=visual)
