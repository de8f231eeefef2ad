"""What the vision tower and the connector make of a batch, and how wrong it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.vision_utils import get_vision_position_ids

from evals.synth.scenes import CLASSES, PATCH, SIDE
from evals.synth.scenes.asking import plural
from evals.synth.scenes.vocabulary import CLASS_OF, NAMED, SHAPES, universe
from training.nano.attention import NEVER, blocks
from training.nano.batches import Batch
from training.nano.models import GRID, Models
from training.nano.vocabulary import beginnings

#: Words for where a patch lies, as classes like those of `CLASSES`.
PLACES = {"row": ("", "top", "bottom"), "column": ("", "left", "right"), "centre": ("", "middle")}
#: Most patches show nothing; weighing them less keeps a head from learning only that.
_NOTHING = 0.25
#: Label of a patch that is not asked about.
_UNASKED = -1
#: Cosines between a token and a word are divided by this, and have to pass the threshold to say that the word is there.
_SHARPNESS, _THRESHOLD = 0.07, 0.25


@dataclass(frozen=True)
class Seen:
    """What the tower makes of a batch.

    Attributes:
        tokens: ``[B, N, D]`` in the decoder's width, in the order of the prompt.
        readings: for each kind of dense label ``[B, N, patches, classes]``.
        cls: ``[B, T, Dv]``, what the contrastive model reads; None for a tower without CLS.
        swaps: ``[B, classes]`` for colours and for shapes, what each has been swapped for, see `Eyes.swapped`.
    """

    tokens: Tensor
    readings: dict[str, Tensor]
    cls: Tensor | None
    swaps: Mapping[str, Tensor] = field(default_factory=dict)


class Eyes:
    """The tower and the connector of models on their device, with the losses that teach them.

    Args:
        fused: whether layers are compiled, see `fuse`.
    """

    def __init__(self, models: Models, device: torch.device, *, fused: bool = False) -> None:
        self.models, self.device = models, device
        self.llava = models.host.config.model_type == "llava"
        self._blocks = [] if self.llava else blocks(models, fused=fused)
        self._mean = torch.tensor(OPENAI_CLIP_MEAN, device=device)[:, None, None] * 255
        self._std = torch.tensor(OPENAI_CLIP_STD, device=device)[:, None, None] * 255
        # For each shape the colours that training never gives it, and the other way round; by class.
        unheard = torch.zeros(len(CLASSES["shape"]), len(CLASSES["colour"]), dtype=torch.bool, device=device)
        for shape in SHAPES:
            for colour in universe("train").unheard(shape):
                unheard[CLASS_OF["shape"][shape], CLASS_OF["colour"][colour]] = True
        self._unheard = {"colour": unheard, "shape": unheard.T}
        self._names = spelled({**{kind: CLASSES[kind] for kind in NAMED}, **PLACES}, models, device)
        # Written words have no plural and keep their name. A plural is never an answer, so that only its token after a
        # space is taught.
        many = [plural(name) if name in SHAPES else name for name in CLASSES["shape"][1:]]
        shapes = [beginnings(name, models.tokenizer)[1:] for name in many]
        self._plurals = torch.tensor(shapes, device=device)

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
            swaps, told = self.swapped(batch, read)
            tokens = model.multi_modal_projector(told)
            pooled = tower.post_layernorm(hidden[:, 0]).view(count, length, -1) if cls else None
        else:
            swaps, told = self.swapped(batch, self._patches(pixels.view(count, length, 3, SIDE, SIDE)))
            tokens = read = model.visual.merger(told.flatten(0, 1)).view(count, told.shape[1] // 4, -1)
            pooled = None
        shape = (*read.shape[:2], 1 if self.llava else 4, -1)
        readings = {kind: head(read).float().view(shape) for kind, head in heads.items()}
        return Seen(tokens, readings, pooled, swaps)

    def swapped(self, batch: Batch, patches: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The batch's swaps as far as it shows both classes; and what the tower makes of patches ``[B, P, Dv]`` with
        what those of a class have in common in the batch swapped for what those of the other have."""
        found = {}
        for kind, tables in batch.swaps.items():
            classes = self._tensor(tables)
            labels = self.labels(batch, kind).flatten(1)
            own = torch.arange(classes.shape[1], device=self.device)
            if bool((classes != own).any()):
                seen = patches.detach().float().flatten(0, 1)
                count = torch.bincount(labels.flatten(), minlength=len(own))
                sums = seen.new_zeros(len(own), seen.shape[1]).index_add_(0, labels.flatten(), seen)
                common = sums / count.clamp(min=1)[:, None]
                shown = count > 0
                classes = torch.where(shown[classes] & shown[own], classes, own)
                patches = patches + (common[classes.gather(1, labels)] - common[labels]).to(patches.dtype)
            found[kind] = classes
        return found, patches

    def _patches(self, pixels: Tensor) -> Tensor:
        """What Qwen's tower makes of the patches of frames ``[B, T, 3, H, W]``, ``[B, slices * 64, Dv]`` in the
        processor's order; two frames make a slice."""
        if pixels.shape[1] % 2:
            pixels = torch.cat([pixels, pixels[:, -1:]], dim=1)
        count, length = pixels.shape[:2]
        half = GRID // 2
        # The processor's order: slice, group of 2 x 2 patches, patch; and within a patch channel, frame, pixel.
        cut = pixels.view(count, length // 2, 2, 3, half, 2, PATCH, half, 2, PATCH)
        flat = cut.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).reshape(count * (length // 2) * GRID * GRID, -1)
        visual = self.models.host.model.visual
        # A patch is as large as the kernel: its convolution is a product, for which there are better kernels.
        kernel = visual.patch_embed.proj.weight.flatten(1)
        hidden = F.linear(flat, kernel).view(-1, GRID * GRID, len(kernel))
        one = torch.tensor([[1, GRID, GRID]], device=self.device)
        cos, sin = visual.rotary_pos_emb(hidden, get_vision_position_ids(one, visual.spatial_merge_size))
        for block in self._blocks:
            hidden = block(hidden, cos, sin)
        return hidden.view(count, -1, hidden.shape[-1])

    def dense(self, batch: Batch, seen: Seen) -> Tensor:
        """Cross entropy of the readings of every patch, a mean over the kinds of labels."""
        found = []
        # A tower that is read before anything is swapped tells what was drawn.
        swaps = {} if self.llava else seen.swaps
        labels = {kind: self.labels(batch, kind, swaps) for kind in CLASSES}
        for kind, reading in seen.readings.items():
            weight = torch.ones(reading.shape[-1], device=self.device)
            weight[0] = _NOTHING
            logits = self._forgiving(kind, reading, labels)
            found.append(F.cross_entropy(logits.flatten(0, -2), labels[kind].flatten(), weight=weight))
        return torch.stack(found).mean()

    def words(self, batch: Batch, seen: Seen, *, plurals: bool = False) -> Tensor:
        """Cross entropy of the names of what every patch shows and of where it lies, read off the decoder's own
        embeddings.

        A token that lies close to the words for what it shows is found by the word in a question and said by copying
        it: the decoder need not discover by chance that pictures and words have anything to do with each other.
        """
        table = self.models.host.model.language_model.embed_tokens.weight
        found = []
        labels = {kind: self.labels(batch, kind, seen.swaps) for kind in NAMED}
        # A tower whose places are only relative learns them too: a thing at the border has fewer neighbours.
        labels |= places(batch, self.device, merged=not self.llava)
        read = [(kind, self._names[kind]) for kind in labels]
        if plurals:
            read.append(("shape", self._plurals))
        for kind, names in read:
            products = naming(seen.tokens, table[names])
            weight = torch.ones(products.shape[-1], device=self.device)
            weight[0] = _NOTHING
            logits = products[..., None, :].expand(-1, -1, labels[kind].shape[-1], -1)
            logits = self._forgiving(kind, logits, labels)
            # A token that shows something in one of its patches is not to be named nothing for the sake of the others.
            there = labels[kind] > 0
            wanted = labels[kind].masked_fill(~there & there.any(-1, keepdim=True), _UNASKED)
            found.append(F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), weight=weight, ignore_index=_UNASKED))
        return torch.stack(found).mean()

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

    def _forgiving(self, kind: str, logits: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """``[..., classes]``: the logits of one kind without the classes that training never shows together with the
        other label of the same patch; that they never come is no reason to take them for wrong."""
        if kind not in self._unheard:
            return logits
        other = "shape" if kind == "colour" else "colour"
        unheard = self._unheard[kind][labels[other]].scatter(-1, labels[kind][..., None], False)
        return logits.masked_fill(unheard, NEVER)

    def labels(self, batch: Batch, kind: str, swaps: Mapping[str, Tensor] | None = None) -> Tensor:
        """``[B, N, patches]`` for the classes ``[B, T, 8, 8]``, as they were drawn or after ``swaps``."""
        labels = by_token(self._tensor(batch.labels[kind]), merged=not self.llava)
        if not swaps or kind not in swaps:
            return labels
        return swaps[kind].gather(1, labels.flatten(1)).view_as(labels)

    def _tensor(self, values: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def spelled(classes: Mapping[str, Sequence[str]], models: Models, device: torch.device) -> dict[str, Tensor]:
    """For each kind the tokens ``[classes - 1, L]`` with which the names of its classes begin, less the first, which
    is nothing."""
    return {
        kind: torch.tensor([beginnings(name, models.tokenizer) for name in names[1:]], device=device)
        for kind, names in classes.items()
    }


def naming(tokens: Tensor, names: Tensor) -> Tensor:
    """Logits ``[..., 1 + classes]`` of which name lies closest to tokens ``[..., D]``, none if all are far.

    Args:
        names: ``[classes, L, D]``, the embeddings of what they begin with.
    """
    products = F.normalize(tokens.float(), dim=-1) @ F.normalize(names.mean(1), dim=-1).T
    return F.pad(products / _SHARPNESS, (1, 0), value=_THRESHOLD / _SHARPNESS)


def places(batch: Batch, device: torch.device, *, merged: bool) -> dict[str, Tensor]:
    """``[B, N, 1]`` for each kind of `PLACES`: in which third of the picture's height and width lies what a token
    shows, the middle of its patches that show anything."""
    shows = torch.from_numpy(np.any([labels > 0 for labels in batch.labels.values()], axis=0))
    there = by_token(shows, merged=merged)
    middles = (torch.arange(GRID) + 0.5) / GRID

    def third(along: Tensor) -> Tensor:
        where = by_token(along.expand_as(shows), merged=merged)
        return ((where * there).sum(-1) / there.sum(-1).clamp(min=1) * 3).long()

    rows, columns = third(middles[:, None].expand(GRID, GRID)), third(middles)
    # 1 and 2 for the first and the last third; 0 between them, where places have no word but "middle" for both.
    side = torch.tensor([1, 0, 2])
    found = {"row": side[rows], "column": side[columns], "centre": ((rows == 1) & (columns == 1)).long()}
    return {kind: torch.where(there.any(-1), place, 0)[..., None].to(device) for kind, place in found.items()}


def by_token(values: Tensor, *, merged: bool) -> Tensor:
    """``[B, N, patches]`` for a value a patch, ``[B, T, 8, 8]``; of two frames in a slice the first counts."""
    if not merged:
        return values.flatten(1)[..., None]
    half = GRID // 2
    groups = values[:, ::2].reshape(len(values), -1, half, 2, half, 2).transpose(3, 4)
    return groups.reshape(len(values), -1, 4)
