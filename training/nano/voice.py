"""What the decoder says to a batch: many questions behind the same pictures, each as if it were alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from training.nano.attention import NEVER
from training.nano.batches import Batch
from training.nano.eyes import by_token
from training.nano.models import GRID, Models
from training.nano.vocabulary import IMAGE, IMAGE_PAD, OPENING, VIDEO_PAD, VISION_END, VISION_START, id_of

#: How much a patch counts to which something has happened, and one to which nothing has; of the former there are few.
_EVENTFUL, _UNEVENTFUL = 10.0, 0.5


@dataclass(frozen=True)
class Spoken:
    """What the decoder makes of a batch.

    Attributes:
        logits: ``[M, V]`` where an answer's tokens are to be said; ``wanted`` ``[M]`` are those tokens.
        middle: ``[B, K, D]``, what its middle layer makes of the pictures' tokens that it got.
        cells: ``[B, K]``, which tokens those are.
    """

    logits: Tensor
    wanted: Tensor
    middle: Tensor
    cells: Tensor


class Voice:
    """The decoder of models on their device."""

    def __init__(self, models: Models, device: torch.device) -> None:
        self.models, self.device = models, device
        self.llava = models.host.config.model_type == "llava"

    def speak(self, batch: Batch, tokens: Tensor) -> Spoken:
        """Runs the decoder over the pictures' tokens ``[B, N, D]`` and what is asked about them."""
        model = self.models.host.model
        opening, visual = self.opening(batch.frames.shape[1])
        before, after = self._positions(batch, opening)
        prefix = model.language_model.embed_tokens(opening).expand(len(batch), -1, -1).to(tokens.dtype)
        prefix = prefix.clone()
        prefix[:, visual] = tokens
        number = torch.full_like(opening, -1)
        number[visual] = torch.arange(len(visual), device=self.device)
        cells = number.expand(len(batch), -1)
        if (there := self._kept(batch, len(opening), visual)) is not None:
            prefix = prefix.gather(1, there[..., None].expand(-1, -1, prefix.shape[-1]))
            before = before.gather(-1, there.expand(*before.shape[:-1], -1))
            cells = number[there]
        text = model.language_model.embed_tokens(self._tensor(batch.ids)).to(prefix.dtype)
        with self._middle() as found:
            hidden = model.language_model(
                inputs_embeds=torch.cat([prefix, text], dim=1),
                attention_mask=self._mask(batch, prefix.shape[1], prefix.dtype),
                position_ids=torch.cat([before, after], dim=-1),
                use_cache=False,
            ).last_hidden_state[:, prefix.shape[1] :]
        target = self._tensor(batch.target)
        said = target >= 0
        (middle,), shown = found, cells >= 0
        middle = middle[:, : prefix.shape[1]][shown].view(len(batch), -1, middle.shape[-1])
        return Spoken(self.models.host.lm_head(hidden[said]), target[said], middle, cells[shown].view(len(batch), -1))

    def course(self, batch: Batch, spoken: Spoken) -> Tensor:
        """Cross entropy of what the middle of the decoder tells of what has become of things, a mean over its kinds.

        Frames are compared there or nowhere: a tower sees each on its own.
        """
        found = []
        for _, reading, labels in self.courses(batch, spoken):
            weight = torch.full(reading.shape[-1:], _EVENTFUL, device=self.device)
            weight[0] = _UNEVENTFUL
            logits = reading.flatten(0, -2).float()
            # Not relative to the weights: who else is in the batch changes nothing, and what rests counts little.
            found.append(F.cross_entropy(logits, labels.flatten(), weight=weight, reduction="none").mean())
        return torch.stack(found).mean()

    def courses(self, batch: Batch, spoken: Spoken) -> Iterator[tuple[str, Tensor, Tensor]]:
        """For each kind of course its readings ``[B, K, patches, classes]`` and its classes ``[B, K, patches]``."""
        patches = 1 if self.llava else 4
        for kind, labels in batch.courses.items():
            classes = by_token(self._tensor(labels), merged=not self.llava)
            reading = self.models.courses[kind](spoken.middle).unflatten(-1, (patches, -1))
            yield kind, reading, classes.gather(1, spoken.cells[..., None].expand(-1, -1, patches))

    @contextmanager
    def _middle(self) -> Iterator[list[Tensor]]:
        """Collects what the decoder's middle layer makes of everything."""
        found: list[Tensor] = []
        layers = self.models.host.model.language_model.layers
        hook = layers[(len(layers) - 1) // 2].register_forward_hook(lambda _, __, output: found.append(output))
        try:
            yield found
        finally:
            hook.remove()

    def forgiving(self, batch: Batch, logits: Tensor) -> Tensor:
        """The logits that `speak` gave without the tokens that are not taken for wrong."""
        target = self._tensor(batch.target)
        forgiven, wanted = self._tensor(batch.forgiven)[target >= 0], target[target >= 0]
        # Where two words begin alike, the one that is to be said counts.
        rows, places = torch.nonzero((forgiven >= 0) & (forgiven != wanted[:, None]), as_tuple=True)
        return logits.index_put((rows, forgiven[rows, places]), logits.new_tensor(NEVER))

    def opening(self, length: int) -> tuple[Tensor, Tensor]:
        """The tokens before the first question, and which of them are cells."""
        tokenizer = self.models.tokenizer
        start = tokenizer.encode(OPENING).ids
        if self.llava:
            image, newline = id_of(tokenizer, IMAGE), tokenizer.encode("\n").ids
            ids = [*start, *([image] * GRID * GRID + newline) * length]
            cell = image
        else:
            cell = id_of(tokenizer, IMAGE_PAD if length == 1 else VIDEO_PAD)
            cells = (length + 1) // 2 * (GRID // 2) ** 2
            ids = [*start, id_of(tokenizer, VISION_START), *[cell] * cells, id_of(tokenizer, VISION_END)]
        opening = torch.tensor(ids, device=self.device)
        return opening, torch.nonzero(torch.eq(opening, cell))[:, 0]

    def _kept(self, batch: Batch, before: int, visual: Tensor) -> Tensor | None:
        """``[B, S]``, the places of the ``before`` tokens of the opening that the decoder gets, rising; None if all."""
        if batch.keep >= 1:
            return None
        rank = by_token(torch.from_numpy(batch.rank).to(self.device), merged=not self.llava).amax(-1)
        count = max(1, round(batch.keep * len(visual)))
        held = torch.ones(len(batch), before, dtype=torch.bool, device=self.device)
        held[:, visual] = False
        held.scatter_(1, visual[rank.topk(count, dim=1).indices], True)
        return torch.nonzero(held)[:, 1].view(len(batch), -1)

    def _mask(self, batch: Batch, before: int, dtype: torch.dtype) -> Tensor:
        """``[B, 1, S, S]``, 0 or `NEVER`: a token sees the opening and the tokens of its own question that came
        before."""
        turn = self._tensor(batch.turn)
        group = F.pad(turn + 1, (before, 0))
        size = group.shape[1]
        shared = torch.arange(size, device=self.device) < before
        allowed = (group[:, :, None] == group[:, None, :]) | shared
        allowed &= torch.ones(size, size, dtype=torch.bool, device=self.device).tril()
        mask = torch.zeros(allowed.shape, dtype=dtype, device=self.device)
        return mask.masked_fill_(~allowed, NEVER)[:, None]

    def _positions(self, batch: Batch, opening: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of the opening and of what follows, ``[B, S]`` each, or ``[3, B, S]`` with M-RoPE."""
        place = self._tensor(batch.place)
        if self.llava:
            before = torch.arange(len(opening), device=self.device).expand(len(batch), -1)
            return before, place + len(opening)
        count, length = batch.frames.shape[:2]
        slices = (length + 1) // 2
        kinds = torch.zeros_like(opening)
        kinds[self.opening(length)[1]] = 1 if length == 1 else 2
        sizes = torch.tensor([[slices, GRID, GRID]] * count, device=self.device)
        spans = batch.times[:, -1] - batch.times[:, 0]
        seconds = [2 * span / (length - 1) if span > 0 else 2.0 for span in spans] if length > 1 else None
        before, _ = self.models.host.model.get_rope_index(
            opening.expand(count, -1),
            kinds.expand(count, -1),
            image_grid_thw=sizes if length == 1 else None,
            video_grid_thw=sizes if length > 1 else None,
            second_per_grid_ts=seconds,
        )
        return before, place + before[:, :, -1:] + 1

    def _tensor(self, values: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)
