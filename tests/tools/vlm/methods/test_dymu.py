"""DyMU: merging in the tower by a slow reading, its calibration, and attention in full length from few tokens."""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.methods.dymu import DyMU, calibrate
from tools.vlm.methods.fastv import FastV
from tools.vlm.prefill import Prefill, SubBlocks
from tools.vlm.signals import Signal
from tools.vlm.tokens import VisualTokens
from tools.vlm.towers import PatchTower

QUESTION = "What is it?"
HOSTS = ["llava", "llava_onevision"]


def context(host: Host, frames: Frames, media: Any = "video") -> Context:
    found = Context(host, frames, QUESTION)
    found.enter(frames, host.prepare(frames, QUESTION, media))
    return found


def encoded(host: Host, method: DyMU, at: Context, signals: tuple[Signal, ...] = ()) -> VisualTokens:
    with torch.inference_mode():
        return method.encode(host.tower, at.inputs, signals, at).check()


# The tower.


def slow_tower(
    tower: PatchTower, pixels: Tensor, thresholds: list[float] | None, merges: list[int]
) -> list[list[tuple[set[int], Tensor]]]:
    """The tokens of each picture, as the patches and the features of each, by loops over lists."""
    pictures = []
    for part in tower.embed(pixels):
        names = ([set()] if tower.has_cls else []) + [{patch} for patch in range(len(part) - int(tower.has_cls))]
        pictures.append([(name, vector, 1.0) for name, vector in zip(names, part, strict=True)])
    for at, layer in enumerate(tower.layers[: tower.reads[0]]):
        attention = layer.module.self_attn
        offers = []
        for number, picture in enumerate(pictures):
            hidden = torch.stack([vector for _, vector, _ in picture])
            sizes = torch.tensor([size for *_, size in picture])
            normed = layer.module.layer_norm1(hidden)
            q, k, v = (
                project(normed).view(len(hidden), attention.num_heads, -1).transpose(0, 1)
                for project in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            # Attention in proportion to size: every key counted size times.
            weights = (q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).exp() * sizes
            mixed = (weights / weights.sum(-1, keepdim=True)) @ v
            hidden = hidden + attention.out_proj(mixed.transpose(0, 1).flatten(1))
            picture[:] = [(name, row, size) for (name, _, size), row in zip(picture, hidden, strict=True)]
            metric = k.mean(0)
            free = [place for place, (name, *_) in enumerate(picture) if name]
            for i in (place for place in free if place % 2 == 0):
                best = max(
                    ((float(torch.cosine_similarity(metric[i], metric[j], dim=0)), -j) for j in free if j % 2 == 1),
                    default=None,
                )
                if best is not None:
                    offers.append((-best[0], number, i, -best[1]))
        if thresholds is None:
            offers = sorted(offers)[: merges[at]]
        else:
            offers = [offer for offer in offers if -offer[0] > thresholds[at]]
        for number, picture in enumerate(pictures):
            pairs = [(i, j) for _, owner, i, j in offers if owner == number]
            for j in {j for _, j in pairs}:
                group = [j, *(i for i, other in pairs if other == j)]
                size = sum(picture[i][2] for i in group)
                mean = sum((picture[i][1] * picture[i][2] for i in group), torch.zeros(())) / size
                picture[j] = (set().union(*(picture[i][0] for i in group)), mean, size)
            gone = {i for i, _ in pairs}
            rows = [item for place, item in enumerate(picture) if place not in gone]
            picture[:] = [
                (name, vector + layer.module.mlp(layer.module.layer_norm2(vector[None]))[0], size)
                for name, vector, size in rows
            ]
    return [[(name, vector) for name, vector, _ in picture if name] for picture in pictures]


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("thresholds", [None, (0.6, 0.9, 0.5)])
@torch.inference_mode()
def test_merging_is_that_of_lists(name: str, thresholds: tuple[float, ...] | None, tiny: LoadHost) -> None:
    host = tiny(name)
    tower = host.tower
    assert isinstance(tower, PatchTower)
    layers = tower.reads[0]
    at = context(host, make_frames(3))
    if thresholds is None:
        method = DyMU(keep=0.4)
        total = round(0.6 * 3 * 49)
        steps = [round(total * done / layers) for done in range(layers + 1)]
        merges = [after - before for before, after in pairwise(steps)]
    else:
        method, merges = DyMU(thresholds=thresholds[:layers]), []
    tokens = encoded(host, method, at)
    slow = slow_tower(tower, at.inputs.pixels, None if thresholds is None else list(thresholds), merges)
    expected = {
        frozenset(patch + 49 * place for patch in name): vector
        for place, picture in enumerate(slow)
        for name, vector in picture
    }
    assert 3 < len(expected) < 3 * 49
    groups = [frozenset(torch.nonzero(tokens.owner == token)[:, 0].tolist()) for token in range(len(tokens))]
    assert set(groups) == set(expected)
    for group, found, index in zip(groups, tokens.features, tokens.index.tolist(), strict=True):
        assert index in group
        torch.testing.assert_close(found, expected[group], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", HOSTS)
def test_above_one_the_tower_is_the_host_own(name: str, tiny: LoadHost) -> None:
    host = tiny(name)
    assert isinstance(host.tower, PatchTower)
    at = context(host, make_frames(2))
    signals = (Signal("received"), Signal("keys", layer=0), *([Signal("cls")] if host.tower.has_cls else []))
    tokens = encoded(host, DyMU(thresholds=(1.0,) * host.tower.reads[0]), at, signals)
    with torch.inference_mode():
        plain = host.encode(at.inputs, signals)
    assert len(tokens) == tokens.patches
    torch.testing.assert_close(tokens.features, plain.features, atol=1e-5, rtol=1e-4)
    for signal in signals:
        torch.testing.assert_close(tokens.signals[signal], plain.signals[signal], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("schedule", ["constant", "early", "late"])
def test_the_mean_is_met_and_plain_pictures_leave_fewer_tokens(schedule: Any, tiny: LoadHost) -> None:
    host = tiny("llava")
    frames = make_frames(4)
    images = frames.images.copy()
    images[1] = 40
    images[3, :, 60:] = 200
    tokens = encoded(host, DyMU(keep=0.6, schedule=schedule), context(host, Frames(frames.times, images)))
    assert len(tokens) == round(0.6 * 4 * 49)
    left = [len(index) for _, index in tokens.by_grid()]
    assert max(left[1], left[3]) < min(left[0], left[2])


@pytest.mark.parametrize("name", HOSTS)
def test_calibrated_on_one_batch_the_batch_merges_as_it_did(name: str, tiny: LoadHost) -> None:
    host = tiny(name)
    frames = make_frames(4)
    thresholds = calibrate(host, [frames], keep=0.5)
    assert all(0 < threshold < 1 for threshold in thresholds)
    own, given = (
        encoded(host, method, context(host, frames)) for method in (DyMU(keep=0.5), DyMU(thresholds=thresholds))
    )
    assert len(own) == round(0.5 * 4 * 49)
    assert torch.equal(own.owner, given.owner)


def test_calibration_is_the_mean_over_batches_and_at_least_zero(tiny: LoadHost) -> None:
    host = tiny("llava")
    one, other = make_frames(3, seed=1), make_frames(4, seed=2)
    both = calibrate(host, [one, other], keep=0.7)
    each = [calibrate(host, [frames], keep=0.7) for frames in (one, other)]
    assert both == pytest.approx([(a + b) / 2 for a, b in zip(*each, strict=True)])
    # Asked for more than half of the tokens, every pair merges: nothing bounds the cut from below but zero.
    assert calibrate(host, [one], keep=0.01)[0] == 0.0
    assert calibrate(host, [one], keep=1.0) == (1.0, 1.0)
    with pytest.raises(BadInput, match="no pictures"):
        calibrate(host, [])


@pytest.mark.parametrize(("media", "count"), [("video", 3), ("image", 1)])
@torch.inference_mode()
def test_pooled_cells_join_the_group_of_the_patch_at_their_middle(media: Any, count: int, tiny: LoadHost) -> None:
    host = tiny("llava_onevision")
    at = context(host, make_frames(count, height=96, width=192), media)
    method = DyMU(keep=0.3)
    patches = encoded(host, method, at, (Signal("received"),))
    tokens = method.connect(patches, at.inputs, at).check()
    assert list(tokens.signals) == [Signal("received")]
    whole = host.connect(
        VisualTokens.full(
            patches.expand(),
            at.inputs.patch_grids,
            {Signal("received"): patches.signals[Signal("received")][patches.owner]},
        ),
        at.inputs,
    )
    groups = []
    for t, y, x in whole.position.tolist():
        grid, crop = at.inputs.grids[t], t
        if media == "video":
            # 7 x 7 patches are pooled to 4 x 4 cells.
            y, x = (min(6, round((place + 0.5) * 7 / 4 - 0.5)) for place in (y, x))
        elif grid.part == "mosaic":
            # The padding that was cut away lay half on either side.
            y += (grid.tiles[0] * 7 - grid.height) // 2
            x += (grid.tiles[1] * 7 - grid.width) // 2
            crop = 1 + y // 7 * grid.tiles[1] + x // 7
            y, x = y % 7, x % 7
        groups.append(int(patches.owner[crop * 49 + y * 7 + x]))
    members: dict[int, list[int]] = {}
    for cell, group in enumerate(groups):
        members.setdefault(group, []).append(cell)
    assert len(members) < len(whole)
    assert sorted(tokens.index.tolist()) == sorted(cells[0] for cells in members.values())
    for token, index in enumerate(tokens.index.tolist()):
        cells = members[groups[index]]
        assert torch.nonzero(tokens.owner == token)[:, 0].tolist() == cells
        torch.testing.assert_close(tokens.features[token], whole.features[cells].mean(0), atol=1e-5, rtol=1e-4)


# The decoder.


@dataclass(frozen=True, kw_only=True)
class Listen(Method):
    """Keeps what went into the attention of each layer, what came out, and the account."""

    stage: ClassVar[Stage] = "prune"

    seen: list[tuple[Tensor, Tensor, Tensor, Tensor]] = field(default_factory=list, hash=False)

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        slots, owner = prefill.prompt.slots, prefill.tokens.owner
        rows = []
        places = []
        for place, slot in enumerate(slots.tolist()):
            if slot < 0:
                rows.append(int(torch.nonzero(prefill.places == place)))
                places.append(place)
            elif owner[slot] >= 0:
                rows.append(int(prefill.visual[owner[slot]]))
                places.append(place)
        self.seen.append((parts.attention_in, parts.attention_out, torch.tensor(rows), torch.tensor(places)))


@pytest.mark.parametrize("name", HOSTS)
@torch.inference_mode()
def test_unmerged_attention_is_the_layer_own_over_the_full_sequence(name: str, tiny: LoadHost) -> None:
    host = tiny(name)
    listen = Listen()
    frames = make_frames(3)
    prompt = host.prepare(frames, QUESTION, "video").prompt
    methods = (DyMU(keep=0.4), FastV(layer=2, keep=0.5), listen)
    prefilled = Engine(host).prefill(Request(frames, QUESTION, Compression(methods), 1, "video"))
    lengths = [len(rows) for *_, rows, _ in listen.seen]
    assert lengths[0] == len(prompt) > lengths[2] > prefilled.lengths[2]
    for layer, (normed, output, rows, places) in enumerate(listen.seen):
        full = normed[:, rows]
        rotary = host.rotate(full, prompt.positions[:, places][:, None])
        out, _ = host.layers[layer].self_attn(full, position_embeddings=rotary, attention_mask=None)
        expected = torch.stack([out[0, rows == row].mean(0) for row in range(normed.shape[1])])
        torch.testing.assert_close(output[0], expected, atol=1e-4, rtol=1e-4)
        cache = prefilled.caches[layer]
        assert torch.equal(cache.places, places)
        assert prefilled.pairs[layer] == len(rows) * (len(rows) + 1) // 2
    assert prefilled.next_position == prompt.next_position


@torch.inference_mode()
def test_of_exact_duplicates_the_first_layer_attends_exactly_and_later_ones_nearly(host: Host) -> None:
    """Places of one token attend alike only to themselves: one layer on, what they would be differs."""
    at = context(host, make_frames(2))
    plain = host.connect(host.encode(at.inputs), at.inputs)
    # Every second token is a copy of the one before.
    first = torch.arange(len(plain)) // 2 * 2
    doubled = replace(plain, features=plain.features[first], extras=tuple(extra[first] for extra in plain.extras))
    few, full = Listen(), Listen()
    Prefill(at, doubled.merge(first), [DyMU(), few]).run()
    Prefill(at, doubled, [full]).run()
    rows = few.seen[0][2]
    for layer, limit in ((0, 1e-4), (1, math.inf)):
        whole = full.seen[layer][1][0]
        mean = torch.stack([whole[rows == row].mean(0) for row in range(few.seen[layer][1].shape[1])])
        assert float((few.seen[layer][1][0] - mean).abs().max()) < limit
    inside = full.seen[0][1][0]
    assert float((inside[1:] - inside[:-1])[rows[1:] == rows[:-1]].abs().max()) > 1e-3


def test_positions_are_the_uncompressed_ones_even_where_prompts_are_numbered_anew(tiny: LoadHost) -> None:
    host = tiny("llava")
    frames = make_frames(2)
    prompt = host.prepare(frames, QUESTION, "video").prompt
    for unmerge in (True, False):
        compression = Compression((DyMU(keep=0.5, unmerge=unmerge),), positions="repack")
        prefilled = Engine(host).prefill(Request(frames, QUESTION, compression, 1, "video"))
        assert prefilled.next_position == (len(prompt) if unmerge else prefilled.lengths[0])
        assert len(prefilled.caches[0]) == prefilled.next_position


def test_unmerging_counts_its_attention_and_cache_in_full(tiny: LoadHost) -> None:
    host = tiny("llava")
    reports = {}
    for unmerge in (True, False):
        request = Request(make_frames(3), QUESTION, Compression((DyMU(keep=0.4, unmerge=unmerge),)), 2, "video")
        result = Engine(host).run([request])[0]
        assert isinstance(result, Result)
        reports[unmerge] = result.report
    assert reports[True].kv_bytes == reports[True].kv_bytes_full
    assert reports[False].kv_bytes < reports[False].kv_bytes_full
    assert reports[False].flops < reports[True].flops < reports[True].flops_full


@pytest.mark.parametrize("option", [{"keep": 0.0}, {"keep": 1.5}, {"thresholds": (math.nan,)}])
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        DyMU(**option)
    assert caught.value.field == next(iter(option))


def test_a_tower_that_it_cannot_merge_in_is_refused(tiny: LoadHost) -> None:
    with pytest.raises(BadInput, match="patch by patch"):
        DyMU().check(tiny("qwen2_5_vl"))
    with pytest.raises(BadInput, match="thresholds") as caught:
        DyMU(thresholds=(0.9,) * 7).check(tiny("llava"))
    assert caught.value.field == "thresholds"


def test_thresholds_are_written_as_they_are_read() -> None:
    for method in (DyMU(), DyMU(thresholds=(0.5, 0.25))):
        assert Compression.parse(str(method)).methods == (method,)
