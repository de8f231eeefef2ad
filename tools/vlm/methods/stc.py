"""STC: the tower computes anew only what changed since a reference frame, and the decoder gets only what is new."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from tools.errors import BadInput
from tools.vlm.context import Context
from tools.vlm.host import Host, Inputs
from tools.vlm.method import Budgeted, Stage
from tools.vlm.primitives.budget import allocate, top
from tools.vlm.signals import Signal
from tools.vlm.tokens import VisualTokens
from tools.vlm.towers import PatchLayer, PatchTower, Tower

#: Widths of the kernels by which the pruner compares.
WIDTHS = (1 / 8, 1 / 4, 1 / 2, 1, 2)

#: Vectors shorter than this have no direction.
EPSILON = 1e-12


@dataclass(frozen=True, kw_only=True)
class STC(Budgeted):
    """STC, "Accelerating Streaming Video Large Language Models via Hierarchical Token Compression", arXiv 2512.00891:
    STC-Cacher in the vision tower, STC-Pruner before the decoder.

    Frames go through the tower in chunks. Every ``interval``-th chunk runs in full, and each layer remembers keys,
    values and the outputs of both sub-blocks of the chunk's last frame. In the chunks between, a layer computes all
    keys, but queries, values and MLP only for the tokens whose keys differ most from the reference; the others take
    over the reference's outputs. A still is no stream: its crops run in full.

    Of every frame the pruner keeps the tokens that are least alike to two means: that of the frame, and that of all
    chunks up to this one. It compares unit vectors of the half of the channels that vary least in the chunk, by a sum
    of Gaussian kernels. Means of past chunks are kept over all channels and cut to those of the chunk at hand; the
    released code cuts them to the channels of their own chunk first, so that channels meet that are not the same.
    Its memory also outlives the video; here a request starts with none.

    Attributes:
        keep: share of the tokens to keep, the same for every frame (60 of 196 in the paper); 1 turns the pruner off.
        chunk: frames that go through the tower together.
        interval: every how many chunks one runs in full; 1 turns the cacher off, for which alone a tower of CLIP or
            SigLIP kind is needed.
        update: share of the tokens that are computed in the chunks between, above 0 and at most 1.
        guard: a chunk whose keys in the first layer have a mean cosine to the reference's below this runs in full as
            well, and becomes the reference: after a cut the old one is worth nothing. None, as released: no guard.
    """

    title: ClassVar[str] = "Accelerating Streaming Video Large Language Models via Hierarchical Token Compression"
    arxiv: ClassVar[str | None] = "2512.00891"
    number: ClassVar[int | None] = 10
    family: ClassVar[str] = "streaming"
    stage: ClassVar[Stage] = "encode"

    keep: float = 60 / 196
    chunk: int = 1
    interval: int = 2
    update: float = 0.25
    guard: float | None = None

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise BadInput(f"a chunk of {self.chunk} frames is none", remedy="use chunk=1 or more", field="chunk")
        if self.interval < 1:
            raise BadInput(f"interval={self.interval} never comes", remedy="use 1 or more", field="interval")
        if not 0 < self.update <= 1:
            raise BadInput(f"update={self.update} is no share", remedy="use above 0 and at most 1", field="update")
        if self.guard is not None and not -1 <= self.guard <= 1:
            raise BadInput(f"guard={self.guard} is no cosine", remedy="use -1 to 1", field="guard")

    def check(self, host: Host) -> None:
        """Refuses the cacher on towers whose layers it cannot run."""
        super().check(host)
        if self.interval > 1 and not isinstance(host.tower, PatchTower):
            raise BadInput(
                f"stc cannot reuse what the vision tower of host '{host.name}' computes",
                remedy="use interval=1 for the pruner alone",
                field="interval",
            )

    def encode(self, tower: Tower, inputs: Inputs, signals: Sequence[Signal], context: Context) -> VisualTokens:
        """The tower, chunk by chunk."""
        if self.interval == 1 or inputs.media == "image":
            return tower.encode(inputs.pixels, inputs.patch_grids, signals)
        assert isinstance(tower, PatchTower)
        cacher, parts = _Cacher(self), []
        for number, pixels in enumerate(torch.split(inputs.pixels, self.chunk)):
            cacher.full = number % self.interval == 0
            parts.append(tower.run(pixels, signals, cacher))
        return VisualTokens.full(
            torch.cat([features.flatten(0, 1) for features, _ in parts]),
            inputs.patch_grids,
            {signal: torch.cat([values[signal].flatten(0, 1) for _, values in parts]) for signal in signals},
        )

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Keeps the most novel tokens of each frame."""
        budget = self.budget(len(tokens))
        if budget == len(tokens):
            return tokens
        pictures = [index for _, index in tokens.by_grid()]
        sizes = torch.tensor([len(index) for index in pictures])
        filled = int((sizes > 0).sum())
        shares = allocate(budget, sizes.double(), sizes, floor=int(budget >= filled)).tolist()
        scores = torch.cat(
            list(_familiarity([tokens.features[index].float() for index in pictures if len(index)], self.chunk))
        )
        kept = [index[top(-scores[index], share)] for index, share in zip(pictures, shares, strict=True)]
        return tokens.gather(torch.cat(kept))

    @classmethod
    def identity(cls) -> "STC":
        """Neither cacher nor pruner."""
        return cls(keep=1.0, interval=1)

    @classmethod
    def examples(cls) -> tuple["STC", ...]:
        """The published setting, larger chunks with a guard, and the pruner alone."""
        return (cls(), cls(keep=0.5, chunk=2, update=0.5, guard=0.85), cls(keep=0.2, interval=1))


def _familiarity(frames: list[Tensor], chunk: int) -> list[Tensor]:
    """How alike each token of each frame, ``[N, D]``, is to its frame and to all that was seen; ``[N]`` a frame."""
    past = torch.zeros(frames[0].shape[1], device=frames[0].device)
    scores = []
    for number, start in enumerate(range(0, len(frames), chunk)):
        part = frames[start : start + chunk]
        every = torch.cat(part)
        past = past + every.mean(0)
        order = torch.argsort(every.var(0, correction=0), stable=True)
        steady = torch.zeros_like(past)
        steady[order[: max(1, len(order) // 2)]] = 1.0
        memory = normalize(past * steady / (number + 1), dim=0)
        for frame in part:
            # Unit vectors u = w x are never written out: their distances to a mean m need products with m alone.
            size = frame.square() @ steady
            weight = size.clamp(min=EPSILON**2).rsqrt()
            own = weight @ frame * steady / len(frame)
            unit = size * weight.square()
            scores.append(
                _alike(unit - 2 * weight * (frame @ memory) + memory @ memory)
                + _alike(unit - 2 * weight * (frame @ own) + own @ own)
            )
    return scores


def _alike(distance: Tensor) -> Tensor:
    """Sum of Gaussian kernels of squared distances."""
    return torch.stack([torch.exp(-distance / (2 * width)) for width in WIDTHS]).sum(0)


@dataclass(frozen=True)
class _Reference:
    """What one layer made of the reference frame: keys ``[S, H d]``, values ``[H, S, d]``, outputs ``[S, D]``."""

    keys: Tensor
    values: Tensor
    attended: Tensor
    fed: Tensor


class _Cacher:
    """Runs the layers of one request's chunks.

    Attributes:
        full: whether the chunk at hand runs in full.
    """

    def __init__(self, method: STC) -> None:
        self.method = method
        self.full = True
        self.references: dict[int, _Reference] = {}

    def __call__(self, index: int, layer: PatchLayer, hidden: Tensor) -> Tensor:
        """The output of a layer for a chunk ``[F, S, D]``."""
        normed = layer.norm(hidden)
        key = layer.keys(normed)
        flat = key.transpose(1, 2).flatten(2)
        if not self.full:
            alike = cosine_similarity(flat.float(), self.references[index].keys.float(), dim=-1)
            guard = self.method.guard
            self.full = index == 0 and guard is not None and float(alike.mean()) < guard
        if self.full:
            value = layer.values(normed)
            attended = layer.attend(layer.queries(normed), key, value)
            middle = hidden + attended
            fed = layer.feed(middle)
            self.references[index] = _Reference(flat[-1], value[-1], attended[-1], fed[-1])
            return middle + fed
        count = max(1, int(self.method.update * hidden.shape[1] + 0.5))
        changed = torch.argsort(alike, dim=1, stable=True)[:, :count]
        return self._partly(layer, hidden, normed, key, changed, self.references[index])

    def _partly(
        self, layer: PatchLayer, hidden: Tensor, normed: Tensor, key: Tensor, changed: Tensor, reference: _Reference
    ) -> Tensor:
        """The same with queries, values and MLP of the tokens ``changed [F, M]`` alone."""
        rows = changed[..., None].expand(-1, -1, hidden.shape[-1])
        chosen = normed.gather(1, rows)
        fresh = layer.values(chosen)
        value = reference.values.expand(len(hidden), -1, -1, -1).scatter(
            2, changed[:, None, :, None].expand(-1, fresh.shape[1], -1, fresh.shape[-1]), fresh
        )
        mixed = layer.attend(layer.queries(chosen), key, value)
        middle = hidden + reference.attended.expand_as(hidden).scatter(1, rows, mixed)
        fed = layer.feed(middle.gather(1, rows))
        return middle + reference.fed.expand_as(hidden).scatter(1, rows, fed)
