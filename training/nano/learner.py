"""What the models make of a batch, and how wrong it is."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from evals.synth.scenes import CLASSES, PATCH, SIDE
from training.nano.attention import BY_ROWS, NEVER
from training.nano.batches import Batch
from training.nano.config import Stage
from training.nano.models import GRID, Models
from training.nano.vocabulary import IMAGE, IMAGE_PAD, OPENING, VIDEO_PAD, VISION_END, VISION_START, id_of

#: Most patches show nothing; weighing them less keeps a head from learning only that.
_NOTHING = 0.25
#: Words for where a patch lies, as classes like those of `CLASSES`.
_PLACES = {"row": ("", "top", "bottom"), "column": ("", "left", "right"), "centre": ("", "middle")}
#: Tokens that go through the decoder together on a processor.
_CHUNK = 2048
#: Cosines between a token and a word are divided by this, and have to pass the threshold to say that the word is there.
_SHARPNESS, _THRESHOLD = 0.07, 0.25


@dataclass(frozen=True)
class Seen:
    """What the tower makes of a batch.

    Attributes:
        tokens: ``[B, N, D]`` in the decoder's width, in the order of the prompt.
        readings: for each kind of dense label ``[B, N, patches, classes]``.
        cls: ``[B, T, Dv]``, what the contrastive model reads; None for a tower without CLS.
    """

    tokens: Tensor
    readings: dict[str, Tensor]
    cls: Tensor | None


class Learner:
    """The models on their device, with the losses.

    Args:
        half: whether matrices are multiplied in bfloat16.
    """

    def __init__(self, models: Models, device: str = "cpu", *, half: bool = False) -> None:
        self.models, self.device, self.half = models, torch.device(device), half
        self.parts = models.parts().to(self.device).train()
        if self.device.type == "cpu":
            models.host.set_attn_implementation(BY_ROWS)
        self.llava = models.host.config.model_type == "llava"
        self._mean = torch.tensor(OPENAI_CLIP_MEAN, device=self.device)[:, None, None] * 255
        self._std = torch.tensor(OPENAI_CLIP_STD, device=self.device)[:, None, None] * 255
        self._names = {
            kind: torch.tensor([self._forms(name) for name in names[1:]], device=self.device)
            for kind, names in {**CLASSES, **_PLACES}.items()
        }

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """The losses that the stage weighs, unweighted."""
        with self._precision():
            seen = self.see(batch, cls=stage.contrast > 0)
            found = self._seeing(batch, seen, stage)
            if stage.language > 0 and batch.ids.size:
                logits, wanted = self.speak(batch, seen.tokens)
                found["language"] = F.cross_entropy(logits.float(), wanted)
        return found

    def hold_tower(self, held: bool) -> None:
        """Whether the vision tower gets no gradients from now on."""
        model = self.models.host.model
        for parameter in (model.vision_tower if self.llava else model.visual).parameters():
            parameter.requires_grad_(not held)

    def learn(self, batch: Batch, stage: Stage, weight: float = 1.0) -> dict[str, float]:
        """Adds the gradients of ``weight`` times the weighed sum of `losses` to the parameters, and gives the losses.

        The decoder runs over a few samples at a time: what it keeps for the way back then stays in the processor's
        cache, which makes a step a quarter faster than in one piece. The tower runs once, for all losses.
        """
        with self._precision():
            seen = self.see(batch, cls=stage.contrast > 0)
            found = self._seeing(batch, seen, stage)
        values = {name: float(loss.detach()) for name, loss in found.items()}
        outputs, gradients = [], []
        if found:
            outputs.append(total(found, stage))
            gradients.append(torch.full_like(outputs[0], weight))
        if stage.language > 0 and batch.ids.size:
            tokens = seen.tokens.detach().requires_grad_()
            values["language"] = self._learn_to_speak(batch, tokens, weight * stage.language)
            assert tokens.grad is not None
            outputs.append(seen.tokens)
            gradients.append(tokens.grad)
        torch.autograd.backward(outputs, gradients)
        return values

    def _learn_to_speak(self, batch: Batch, tokens: Tensor, weight: float) -> float:
        """As `learn`, for the language alone; the gradient of the pictures' tokens is left at ``tokens``."""
        count = int((batch.target >= 0).sum())
        length = self._opening(batch.frames.shape[1])[0].shape[0] + batch.ids.shape[1]
        size = max(1, _CHUNK // length) if self.device.type == "cpu" else len(batch)
        sum_ = 0.0
        for start in range(0, len(batch), size):
            rows = slice(start, start + size)
            with self._precision():
                logits, wanted = self.speak(batch.part(rows), tokens[rows])
                loss = F.cross_entropy(logits.float(), wanted, reduction="sum") / count
            (weight * loss).backward()  # type: ignore[no-untyped-call]
            sum_ += float(loss.detach())
        return sum_

    def _seeing(self, batch: Batch, seen: Seen, stage: Stage) -> dict[str, Tensor]:
        """The losses of the tower and the connector."""
        found = {}
        if stage.dense > 0:
            found["dense"] = self.dense(batch, seen)
        if stage.words > 0:
            found["words"] = self.words(batch, seen)
        if stage.contrast > 0 and seen.cls is not None:
            found["contrast"] = self.contrast(batch, seen.cls)
        return found

    @torch.no_grad()
    def score(self, batch: Batch) -> tuple[Counter[str], Counter[str]]:
        """How many questions of each family are answered to the letter, and how many there are.

        Every next token is the likeliest exactly where greedy decoding says the answer, so nothing is generated here.
        Two more things count as families: the part of patches that show something which is named, and the captions that
        match their own sample best in the batch.
        """
        right: Counter[str] = Counter()
        asked: Counter[str] = Counter()
        with self._precision():
            seen = self.see(batch, cls=self.models.search is not None)
            if seen.cls is not None:
                right["match"] += int(
                    (self.products(batch, seen.cls).argmax(0).cpu() == torch.arange(len(batch))).sum()
                )
                asked["match"] += len(batch)
            for kind, reading in seen.readings.items():
                labels = self._dense_labels(batch, kind)
                there = labels > 0
                right[f"patch {kind}"] += int(((reading.argmax(-1) == labels) & there).sum())
                asked[f"patch {kind}"] += int(there.sum())
            if not batch.ids.size:
                return right, asked
            logits, wanted = self.speak(batch, seen.tokens)
        target = torch.from_numpy(batch.target)
        wrong = torch.zeros_like(target, dtype=torch.bool)
        wrong[target >= 0] = (logits.argmax(-1) != wanted).cpu()
        for row, families in enumerate(batch.families):
            for number, family in enumerate(families):
                asked[family] += 1
                right[family] += int(not wrong[row, torch.from_numpy(batch.turn[row] == number)].any())
        return right, asked

    def _forms(self, name: str) -> list[int]:
        """The tokens with which a name begins, at the start of a text and inside it."""
        encode = self.models.tokenizer.encode
        # A letter stands alone behind its space.
        inside = encode(f"a {name}").ids[len(encode("a").ids) :]
        return [encode(name).ids[0], inside[-1] if len(name) == 1 else inside[0]]

    # --- seeing ----------------------------------------------------------------------------------------------------

    def see(self, batch: Batch, *, cls: bool = False) -> Seen:
        """Runs the tower and the connector."""
        count, length = batch.frames.shape[:2]
        pixels = torch.from_numpy(batch.frames).to(self.device).flatten(0, 1).permute(0, 3, 1, 2)
        pixels = (pixels.float() - self._mean) / self._std
        model, heads = self.models.host.model, self.models.heads
        if self.llava:
            tower = model.vision_tower
            hidden = tower.pre_layrnorm(tower.embeddings(pixels))
            for layer in tower.encoder.layers:
                hidden = layer(hidden, None)
            patches = hidden[:, 1:]
            read = patches.reshape(count, length * GRID * GRID, -1)
            tokens = model.multi_modal_projector(read)
            pooled = tower.post_layernorm(hidden[:, 0]).view(count, length, -1) if cls else None
        else:
            tokens = read = self._merged(pixels.view(count, length, 3, SIDE, SIDE))
            pooled = None
        shape = (*read.shape[:2], 1 if self.llava else 4, -1)
        readings = {kind: head(read).float().view(shape) for kind, head in heads.items()}
        return Seen(tokens, readings, pooled)

    def _merged(self, pixels: Tensor) -> Tensor:
        """Qwen's tokens ``[B, slices * 16, D]`` of frames ``[B, T, 3, H, W]``; two frames make a slice."""
        if pixels.shape[1] % 2:
            pixels = torch.cat([pixels, pixels[:, -1:]], dim=1)
        count, length = pixels.shape[:2]
        half = GRID // 2
        # The processor's order: slice, group of 2 x 2 patches, patch; and within a patch channel, frame, pixel.
        cut = pixels.view(count, length // 2, 2, 3, half, 2, PATCH, half, 2, PATCH)
        flat = cut.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).reshape(count * (length // 2) * GRID * GRID, -1)
        sizes = torch.tensor([[length // 2, GRID, GRID]] * count, device=self.device)
        tokens: Tensor = self.models.host.model.visual(flat, sizes).pooler_output
        return tokens.view(count, length // 2 * half * half, -1)

    # --- speaking --------------------------------------------------------------------------------------------------

    def speak(self, batch: Batch, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[M, V]`` where an answer's tokens are to be said, and those tokens ``[M]``; from the pictures'
        tokens ``[B, N, D]``."""
        model = self.models.host.model
        opening, visual = self._opening(batch.frames.shape[1])
        before, after = self._positions(batch, opening)
        prefix = model.language_model.embed_tokens(opening).expand(len(batch), -1, -1).to(tokens.dtype)
        prefix = prefix.clone()
        prefix[:, visual] = tokens
        if (there := self._kept(batch, len(opening), visual)) is not None:
            prefix = prefix.gather(1, there[..., None].expand(-1, -1, prefix.shape[-1]))
            before = before.gather(-1, there.expand(*before.shape[:-1], -1))
        text = model.language_model.embed_tokens(self._tensor(batch.ids)).to(prefix.dtype)
        hidden = model.language_model(
            inputs_embeds=torch.cat([prefix, text], dim=1),
            attention_mask=self._mask(batch, prefix.shape[1], prefix.dtype),
            position_ids=torch.cat([before, after], dim=-1),
            use_cache=False,
        ).last_hidden_state[:, prefix.shape[1] :]
        target = self._tensor(batch.target)
        said = target >= 0
        return self.models.host.lm_head(hidden[said]), target[said]

    def _kept(self, batch: Batch, before: int, visual: Tensor) -> Tensor | None:
        """``[B, S]``, the places of the ``before`` tokens of the opening that the decoder gets, rising; None if all."""
        if batch.keep >= 1:
            return None
        rank = self._by_token(torch.from_numpy(batch.rank).to(self.device)).amax(-1)
        count = max(1, round(batch.keep * len(visual)))
        held = torch.ones(len(batch), before, dtype=torch.bool, device=self.device)
        held[:, visual] = False
        held.scatter_(1, visual[rank.topk(count, dim=1).indices], True)
        return torch.nonzero(held)[:, 1].view(len(batch), -1)

    def _opening(self, length: int) -> tuple[Tensor, Tensor]:
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
        kinds[self._opening(length)[1]] = 1 if length == 1 else 2
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

    # --- what the tower is taught ------------------------------------------------------------------------------------

    def dense(self, batch: Batch, seen: Seen) -> Tensor:
        """Cross entropy of the readings of every patch, a mean over the kinds of labels."""
        found = []
        for kind, reading in seen.readings.items():
            weight = torch.ones(reading.shape[-1], device=self.device)
            weight[0] = _NOTHING
            labels = self._dense_labels(batch, kind)
            found.append(F.cross_entropy(reading.flatten(0, -2), labels.flatten(), weight=weight))
        return torch.stack(found).mean()

    def words(self, batch: Batch, seen: Seen) -> Tensor:
        """Cross entropy of the names of what every patch shows and of where it lies, read off the decoder's own
        embeddings.

        A token that lies close to the words for what it shows is found by the word in a question and said by copying
        it: the decoder need not discover by chance that pictures and words have anything to do with each other.
        """
        table = self.models.host.model.language_model.embed_tokens.weight
        tokens = F.normalize(seen.tokens.float(), dim=-1)
        found = []
        labels = {kind: self._dense_labels(batch, kind) for kind in CLASSES}
        there = torch.stack([one > 0 for one in labels.values()]).any(0)
        labels |= {kind: torch.where(there, place, 0) for kind, place in self._places(batch).items()}
        for kind, names in self._names.items():
            vectors = F.normalize(table[names].mean(1), dim=-1)
            products = F.pad(tokens @ vectors.T / _SHARPNESS, (1, 0), value=_THRESHOLD / _SHARPNESS)
            weight = torch.ones(products.shape[-1], device=self.device)
            weight[0] = _NOTHING
            for patch in range(there.shape[-1]):
                wanted = labels[kind][..., patch].flatten()
                found.append(F.cross_entropy(products.flatten(0, 1), wanted, weight=weight))
        return torch.stack(found).mean()

    def _dense_labels(self, batch: Batch, kind: str) -> Tensor:
        """``[B, N, patches]`` for the classes ``[B, T, 8, 8]``."""
        return self._by_token(self._tensor(batch.labels[kind]))

    def _places(self, batch: Batch) -> dict[str, Tensor]:
        """``[B, N, patches]`` for each kind of place: which third of the picture's height and width a patch lies in."""
        third = (torch.arange(GRID, device=self.device) * 2 + 1) * 3 // (2 * GRID)
        rows, columns = third[:, None].expand(GRID, GRID), third[None].expand(GRID, GRID)
        # 1 and 2 for the first and the last third; 0 between them, where places have no word but "middle" for both.
        side = torch.tensor([1, 0, 2], device=self.device)
        places = {"row": side[rows], "column": side[columns], "centre": ((rows == 1) & (columns == 1)).long()}
        count, length = batch.frames.shape[:2]
        return {kind: self._by_token(place.expand(count, length, GRID, GRID)) for kind, place in places.items()}

    def _by_token(self, values: Tensor) -> Tensor:
        """``[B, N, patches]`` for a value a patch, ``[B, T, 8, 8]``; of two frames in a slice the first counts."""
        if self.llava:
            return values.flatten(1)[..., None]
        half = GRID // 2
        groups = values[:, ::2].reshape(len(values), -1, half, 2, half, 2).transpose(3, 4)
        return groups.reshape(len(values), -1, 4)

    def contrast(self, batch: Batch, cls: Tensor) -> Tensor:
        """CLIP's symmetric loss between captions and the mean vector of a sample's frames (Radford et al.,
        arXiv:2103.00020)."""
        products = self.products(batch, cls)
        own = torch.arange(len(batch), device=self.device)
        return (F.cross_entropy(products, own) + F.cross_entropy(products.T, own)) / 2

    def products(self, batch: Batch, cls: Tensor) -> Tensor:
        """Scaled products ``[B, B]`` of pictures and captions."""
        search: Any = self.models.search
        pictures = F.normalize(F.normalize(search.visual_projection(cls).float(), dim=-1).mean(1), dim=-1)
        ids = self._tensor(batch.caption)
        # Padding stands behind the end token, where causal attention keeps it out of sight.
        texts = search.text_projection(search.text_model(input_ids=ids).pooler_output).float()
        scale = search.logit_scale.clamp(max=4.6052).exp()
        products: Tensor = scale * pictures @ F.normalize(texts, dim=-1).T
        # Scenes that read the same are no mistakes of one another.
        same = (ids[:, None] == ids[None]).all(-1)
        return products.masked_fill(same & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device), -1e4)

    def _tensor(self, values: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()


def total(losses: Mapping[str, Tensor], stage: Stage) -> Tensor:
    """The sum of the losses as the stage weighs them."""
    return torch.stack([getattr(stage, name) * loss for name, loss in losses.items()]).sum()


def multiplies_half(device: str) -> bool:
    """Whether bfloat16 is multiplied in hardware; emulated it is a third as fast as float32."""
    if not device.startswith("cpu"):
        return True
    return bool(torch.cpu.get_capabilities().get("amx_bf16") or torch.cpu.get_capabilities().get("avx512_bf16"))


@contextmanager
def evaluating(parts: torch.nn.Module) -> Iterator[None]:
    """The parts in evaluation mode for a while."""
    parts.eval()
    try:
        yield
    finally:
        parts.train()
