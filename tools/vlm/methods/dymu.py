"""DyMU: the tower merges what looks alike, pictures by their complexity, and the decoder attends as if it had not."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.context import Context
from tools.vlm.host import Host, Inputs
from tools.vlm.method import Method, Stage
from tools.vlm.prefill import Prefill
from tools.vlm.primitives import probe
from tools.vlm.primitives.tower_merging import Closest, above, merge_in_tower
from tools.vlm.signals import Signal
from tools.vlm.tokens import VisualTokens
from tools.vlm.towers import PatchTower, Tower

Schedule = Literal["constant", "early", "late"]


@dataclass(frozen=True, kw_only=True)
class DyMU(Method):
    """DyMU, arXiv 2504.17040: Dynamic Token Merging (DToMe) and Virtual Token Unmerging (VTU).

    In every tower layer, between attention and MLP, tokens whose mean keys are closer than the layer's threshold merge
    (bipartite, size-weighted, with attention in proportion to size), so that plain pictures leave few tokens and
    cluttered ones many. In the decoder each token stands again on all places of its patches: queries, keys and values
    are computed once a token, spread over the places with their own rotary positions, attended in full length, and the
    outputs of a token's places are averaged. This is an approximation: places of one token would differ after a layer.
    VTU saves projections and MLP, but neither attention nor cache.

    Thresholds come from `calibrate` and hold for one tower and resolution. Without them the request's own pictures are
    the batch that a calibration sees: in each layer the pairs of all of them compete, and as many of the closest merge
    as the schedule asks for. The mean is then exact, and pictures share it by their complexity.

    Where the connector pools the tower's grid, a pooled cell joins the group of the patch at its middle, so that fewer
    or more tokens than ``keep`` may be left of the cells. Towers that fuse patches before the connector are refused.

    Attributes:
        keep: share of the tower's patches that are left on average, above 0 and at most 1; a layer merges half of its
            tokens at most. The paper's smallest setting leaves 72 of 576.
        schedule: how merges are spread over layers: evenly, or falling or rising in a line.
        thresholds: one a tower layer (up to the one that is read); ``keep`` and ``schedule`` do not count then. A pair
            merges above its layer's threshold; at 1 and more none does.
        unmerge: whether the decoder attends as if nothing had been merged.
    """

    title: ClassVar[str] = "DyMU: Dynamic Merging and Virtual Unmerging for Efficient VLMs"
    arxiv: ClassVar[str | None] = "2504.17040"
    number: ClassVar[int | None] = 70
    family: ClassVar[str] = "encoder-level merging"
    stage: ClassVar[Stage] = "encode"

    keep: float = 0.125
    schedule: Schedule = "constant"
    thresholds: tuple[float, ...] | None = None
    unmerge: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise BadInput(f"keep={self.keep} is no share", remedy="give a share above 0 and at most 1", field="keep")
        if any(math.isnan(threshold) for threshold in self.thresholds or ()):
            raise BadInput("a threshold is no number", remedy="use those of a calibration", field="thresholds")

    def check(self, host: Host) -> None:
        """Refuses towers whose patches are fused, several feature layers, thresholds of another tower."""
        super().check(host)
        read = _read(host)
        if self.thresholds is not None and len(self.thresholds) != read:
            raise BadInput(
                f"dymu has {len(self.thresholds)} thresholds for the {read} tower layers of host '{host.name}'",
                remedy="calibrate on this checkpoint",
                field="thresholds",
            )

    def count(self, tokens: int) -> int | None:
        """The pictures decide."""
        return None

    def encode(self, tower: Tower, inputs: Inputs, signals: Sequence[Signal], context: Context) -> VisualTokens:
        """The tower with merging."""
        assert isinstance(tower, PatchTower)
        close = above(self.thresholds) if self.thresholds is not None else Closest(_merges(tower, inputs, self))
        return merge_in_tower(tower, inputs.pixels, inputs.patch_grids, signals, close)

    def connect(self, patches: VisualTokens, inputs: Inputs, context: Context) -> VisualTokens:
        """The host's connector; a grid that it has filled again is merged once more by the groups of the patches."""
        if len(patches) == patches.patches:
            return context.host.connect(patches, inputs)
        tokens = context.host.connect(patches, inputs)
        return tokens if len(tokens) < tokens.patches else _regrouped(patches, inputs, context.host)

    def positions(self, prefill: Prefill) -> Tensor:
        """Those of the uncompressed prompt: unmerging stands on them even where prompts are numbered anew."""
        return prefill.prompt.positions[:, prefill.places] if self.unmerge else prefill.positions

    def attend(self, layer: int, normed: Tensor, prefill: Prefill) -> Tensor | None:
        """Attention in full length from the projections of few tokens."""
        if not self.unmerge:
            return None
        memory = prefill.context.memory(self)
        # The places of each token stay the same until tokens are pruned.
        if memory.get("length") != len(prefill.places):
            memory.update(length=len(prefill.places), spread=_spread(prefill))
        spread: _Spread | None = memory["spread"]
        return None if spread is None else _unmerged(layer, normed, spread, prefill)

    @classmethod
    def identity(cls) -> "DyMU":
        """Nothing merged."""
        return cls(keep=1.0)

    @classmethod
    def examples(cls) -> tuple["DyMU", ...]:
        """The smallest published setting, and a mild one that the decoder sees."""
        return (cls(), cls(keep=0.6, schedule="early", unmerge=False))


def calibrate(
    host: Host, batches: Iterable[Frames], *, keep: float = 0.125, schedule: Schedule = "constant"
) -> tuple[float, ...]:
    """Thresholds of a host's tower: the mean over batches of the cosine from which on pairs merge in each layer, when
    the pairs of a batch's pictures compete for the merges that ``keep`` asks for; at least 0.

    Args:
        batches: pictures, many to a batch (the paper: up to 256,000 in batches of 128 or so).

    Raises:
        BadInput: a host that DyMU does not work on, or no batch.
    """
    method = DyMU(keep=keep, schedule=schedule)
    method.check(host)
    tower = host.tower
    assert isinstance(tower, PatchTower)
    found = []
    with torch.inference_mode():
        for frames in batches:
            inputs = host.prepare(frames, "calibration", "video")
            closest = Closest(_merges(tower, inputs, method))
            merge_in_tower(tower, inputs.pixels, inputs.patch_grids, (), closest)
            found.append(closest.cuts)
    if not found:
        raise BadInput("there are no pictures to calibrate on", remedy="give some", field="batches")
    return tuple(max(0.0, sum(cuts) / len(cuts)) for cuts in zip(*found, strict=True))


def _read(host: Host) -> int:
    """How many tower layers run before the features are read.

    Raises:
        BadInput: a tower that is not read once, patch by patch.
    """
    tower = host.tower
    if not isinstance(tower, PatchTower) or len(tower.reads) != 1:
        raise BadInput(
            f"method 'dymu' needs a vision tower that is read once, patch by patch, unlike that of host '{host.name}'",
            remedy="use a host with a CLIP or SigLIP tower",
            field="method",
        )
    return tower.reads[0]


def _merges(tower: PatchTower, inputs: Inputs, method: DyMU) -> list[int]:
    """How many pairs of all pictures together are to merge in each layer."""
    layers = tower.reads[0]
    total = (1 - method.keep) * sum(grid.cells for grid in inputs.patch_grids)
    falling = [1.0 if method.schedule == "constant" else layers - at - 0.5 for at in range(layers)]
    weights = falling[::-1] if method.schedule == "late" else falling
    # Rounded so that the sum over layers is right.
    done = [round(total * sum(weights[:at]) / sum(weights)) for at in range(layers + 1)]
    return [after - before for before, after in pairwise(done)]


# Connectors that fill the grid again.

#: Travels the connector's way like a signal of the tower: where on its picture's lattice a patch lies.
_PLACE = Signal("keys", heads="sum", logits=True)


def _regrouped(patches: VisualTokens, inputs: Inputs, host: Host) -> VisualTokens:
    """The connector's tokens, those of one group of patches merged."""
    grids = inputs.patch_grids
    side = grids[0].width
    columns = inputs.grids[-1].tiles[1]
    position = torch.tensor([[y, x] for y in range(side) for x in range(side)], device=patches.features.device)
    lattice = position.repeat(len(grids), 1).float()
    still = inputs.media == "image"
    if still:
        # Crops lie side by side in the mosaic; the first picture is the whole.
        crop = torch.arange(len(grids) - 1, device=lattice.device).repeat_interleave(side * side)
        lattice[side * side :] += torch.stack([crop // columns, crop % columns], 1) * side
    signals = {signal: value[patches.owner] for signal, value in patches.signals.items()}
    tokens = host.connect(VisualTokens.full(patches.expand(), grids, {**signals, _PLACE: lattice}), inputs)
    y, x = tokens.signals[_PLACE].round().long().unbind(1)
    picture = tokens.position[:, 0]
    if still:
        picture = torch.where(picture > 0, 1 + y // side * columns + x // side, 0)
    group = patches.owner[picture * side * side + y % side * side + x % side]
    # The first cell of each group stands for it.
    first = torch.full((len(patches),), len(tokens), device=group.device)
    first.scatter_reduce_(0, group, torch.arange(len(tokens), device=group.device), "amin")
    tokens = replace(tokens, signals={signal: tokens.signals[signal] for signal in signals})
    return tokens.merge(first[group])


# Unmerging in the decoder.


@dataclass(frozen=True)
class _Spread:
    """A merged sequence laid out over the places of the full one.

    Attributes:
        rows: int64 ``[M]``, the row that stands on each place.
        places: int64 ``[M]``, prompt places, increasing.
        rotary: cosines and sines ``[1, M, d]`` of the places' own positions.
        share: float32 ``[L, 1]``, one over the number of places of each row.
    """

    rows: Tensor
    places: Tensor
    rotary: tuple[Tensor, Tensor]
    share: Tensor


def _spread(prefill: Prefill) -> _Spread | None:
    """The full sequence as it stands, or None if no token has more than one place."""
    prompt, tokens = prefill.prompt, prefill.tokens
    owned = torch.nonzero(tokens.owner >= 0)[:, 0]
    if len(owned) == len(tokens):
        return None
    row = torch.full((len(prompt),), -1, device=prefill.places.device)
    row[prefill.places] = torch.arange(len(prefill.places), device=row.device)
    row[prompt.cells[owned]] = prefill.visual[tokens.owner[owned]]
    places = torch.nonzero(row >= 0)[:, 0]
    rows = row[places]
    rotary = prefill.host.rotate(prefill.hidden, prompt.positions[:, places][:, None])
    return _Spread(rows, places, rotary, 1 / torch.bincount(rows)[:, None].float())


def _unmerged(layer: int, normed: Tensor, spread: _Spread, prefill: Prefill) -> Tensor:
    """Output ``[1, L, D]`` of one layer's attention over the full sequence, averaged over the places of each row."""
    module = prefill.host.layers[layer]
    rows = spread.rows
    query = probe.turn(probe.still_queries(module, normed[0])[:, rows], spread.rotary)
    key = probe.turn(probe.still_keys(module, normed[0])[:, rows], spread.rotary)
    value = probe.values(module, normed)[:, rows]
    mixed = scaled_dot_product_attention(
        query[None], key[None], value[None], is_causal=True, scale=module.self_attn.scaling, enable_gqa=True
    )
    prefill.remember(layer, key, value, spread.places, len(rows) * (len(rows) + 1) // 2)
    heads = mixed[0].transpose(0, 1).flatten(1)
    mean = torch.zeros(normed.shape[1], heads.shape[1], device=heads.device).index_add_(0, rows, heads.float())
    return module.self_attn.o_proj((mean * spread.share).to(heads))[None]  # type: ignore[no-any-return]
