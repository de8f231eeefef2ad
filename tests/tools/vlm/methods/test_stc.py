"""STC: the cacher against a token-by-token reading, the pruner against loops, and where both are exact."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.methods.stc import STC
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens
from tools.vlm.towers import PatchTower

QUESTION = "What is new?"
HOSTS = ["llava", "llava_onevision"]
law = settings(max_examples=40)


def encoded(host: Host, method: STC, frames: Frames, signals: tuple[Signal, ...] = ()) -> VisualTokens:
    context = Context(host, frames, QUESTION)
    context.enter(frames, host.prepare(frames, QUESTION, "video"))
    with torch.inference_mode():
        return method.encode(host.tower, context.inputs, signals, context).check()


def own(host: Host, frames: Frames) -> Tensor:
    with torch.inference_mode():
        return host.encode(host.prepare(frames, QUESTION, "video")).features


def changing(count: int) -> Frames:
    """Frames that differ in one moving square only."""
    frames = make_frames(count)
    images = np.repeat(frames.images[:1], count, axis=0)
    for at in range(count):
        images[at, 20:50, 20 * at : 20 * at + 25] = (0, 200, 90)
    return Frames(frames.times, images)


# The cacher.


def slow_tower(tower: PatchTower, pixels: Tensor, chunk: int, interval: int, update: float) -> Tensor:
    """Features by loops over frames and tokens, one query at a time."""
    memory: dict[int, tuple[Tensor, ...]] = {}
    features = []
    for number in range(math.ceil(len(pixels) / chunk)):
        hidden = tower.embed(pixels[number * chunk : (number + 1) * chunk])
        for index, layer in enumerate(tower.layers[: tower.reads[0]]):
            attention, out, keep = layer.module.self_attn, [], None
            for frame in hidden:
                normed = layer.module.layer_norm1(frame)
                key = attention.k_proj(normed)
                if number % interval == 0:
                    changed = list(range(len(frame)))
                    value, attended, fed = (torch.zeros_like(frame) for _ in range(3))
                else:
                    alike = [
                        float(torch.cosine_similarity(a, b, dim=0)) for a, b in zip(key, memory[index][0], strict=True)
                    ]
                    count = max(1, int(update * len(frame) + 0.5))
                    changed = sorted(range(len(frame)), key=lambda at: (alike[at], at))[:count]
                    value, attended, fed = (part.clone() for part in memory[index][1:])
                for at in changed:
                    value[at] = attention.v_proj(normed[at])
                width = attention.head_dim
                for at in changed:
                    query = attention.q_proj(normed[at])
                    heads = []
                    for head in range(attention.num_heads):
                        part = slice(head * width, (head + 1) * width)
                        weights = (key[:, part] @ query[part] * width**-0.5).softmax(0)
                        heads.append(weights @ value[:, part])
                    attended[at] = attention.out_proj(torch.cat(heads))
                middle = frame + attended
                for at in changed:
                    fed[at] = layer.module.mlp(layer.module.layer_norm2(middle[at]))
                out.append(middle + fed)
                keep = (key, value, attended, fed)
            assert keep is not None
            if number % interval == 0:
                memory[index] = keep
            hidden = torch.stack(out)
        features.append(tower.patches(hidden).flatten(0, 1))
    return torch.cat(features)


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize(("chunk", "interval", "update"), [(1, 2, 0.25), (2, 3, 0.6)])
@torch.inference_mode()
def test_cacher_is_that_of_loops(name: str, chunk: int, interval: int, update: float, tiny: LoadHost) -> None:
    host = tiny(name)
    assert isinstance(host.tower, PatchTower)
    frames = changing(5)
    pixels = host.prepare(frames, QUESTION, "video").pixels
    found = encoded(host, STC(chunk=chunk, interval=interval, update=update), frames).features
    expected = slow_tower(host.tower, pixels, chunk, interval, update)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, own(host, frames), atol=1e-2)


@pytest.mark.parametrize("name", HOSTS)
def test_all_tokens_updated_or_nothing_changed_is_exact(name: str, tiny: LoadHost) -> None:
    host = tiny(name)
    frames = make_frames(4)
    close: dict[str, Any] = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(encoded(host, STC(update=1.0, chunk=2), frames).features, own(host, frames), **close)
    still = Frames(frames.times, np.repeat(frames.images[:1], 4, axis=0))
    torch.testing.assert_close(encoded(host, STC(update=0.1, interval=4), still).features, own(host, still), **close)


def test_chunks_that_run_in_full_are_exact_and_the_error_falls_with_the_share(tiny: LoadHost) -> None:
    host = tiny("llava")
    frames = changing(4)
    truth = own(host, frames).view(4, -1)
    errors = []
    for update in (0.1, 0.4, 0.8, 1.0):
        found = encoded(host, STC(update=update), frames).features.view(4, -1)
        torch.testing.assert_close(found[[0, 2]], truth[[0, 2]], atol=1e-5, rtol=1e-4)
        errors.append(float((found - truth)[[1, 3]].square().mean()))
    assert errors[0] > errors[-2] > errors[-1]
    assert errors[-1] < 1e-8


def test_a_guard_runs_a_chunk_after_a_cut_in_full(tiny: LoadHost) -> None:
    host = tiny("llava")
    frames = make_frames(3)
    images = frames.images.copy()
    images[1:] = 255 - images[:1]
    cut = Frames(frames.times, images)
    truth = own(host, cut).view(3, -1)
    for guard, exact in ((None, False), (-1.0, False), (1.0, True)):
        found = encoded(host, STC(guard=guard, interval=5), cut).features.view(3, -1)
        assert torch.allclose(found[1], truth[1], atol=1e-4) == exact
        # The frame after it looks the same: close to the new reference, even if it is not computed in full.
        assert torch.allclose(found[2], truth[2], atol=1e-4) == exact


def test_signals_are_those_of_what_was_computed(tiny: LoadHost) -> None:
    host = tiny("llava")
    signals = (Signal("cls"), Signal("keys", layer=0))
    frames = make_frames(3)
    found = encoded(host, STC(update=1.0), frames, signals)
    with torch.inference_mode():
        plain = host.encode(host.prepare(frames, QUESTION, "video"), signals)
    for signal in signals:
        torch.testing.assert_close(found.signals[signal], plain.signals[signal], atol=1e-5, rtol=1e-4)


# The pruner.


def slow_scores(frames: list[list[list[float]]], chunk: int) -> list[list[float]]:
    """Scores by loops over numbers."""

    def mean(rows: list[list[float]]) -> list[float]:
        return [sum(row[at] for row in rows) / len(rows) for at in range(len(rows[0]))]

    def unit(row: list[float]) -> list[float]:
        size = math.sqrt(sum(value**2 for value in row))
        return [value / max(size, 1e-12) for value in row]

    def alike(row: list[float], other: list[float]) -> float:
        distance = sum((a - b) ** 2 for a, b in zip(row, other, strict=True))
        return sum(math.exp(-distance / (2 * width)) for width in (0.125, 0.25, 0.5, 1, 2))

    means, scores = [], []
    for start in range(0, len(frames), chunk):
        every = [row for frame in frames[start : start + chunk] for row in frame]
        middle = mean(every)
        means.append(middle)
        spread = [sum((row[at] - middle[at]) ** 2 for row in every) for at in range(len(middle))]
        steady = sorted(range(len(middle)), key=lambda at: (spread[at], at))[: max(1, len(middle) // 2)]
        memory = unit([mean(means)[at] for at in steady])
        for frame in frames[start : start + chunk]:
            rows = [unit([row[at] for at in steady]) for row in frame]
            scores.append([alike(row, memory) + alike(row, mean(rows)) for row in rows])
    return scores


@law
@given(
    st.integers(1, 5), st.integers(1, 6), st.integers(2, 7), st.integers(1, 3), st.floats(0.1, 0.9), st.integers(0, 999)
)
def test_pruner_is_that_of_loops(frames: int, cells: int, width: int, chunk: int, keep: float, seed: int) -> None:
    features = torch.randn(frames * cells, width, generator=torch.Generator().manual_seed(seed)) + 0.5
    tokens = VisualTokens.full(features, tuple(Grid(1, cells) for _ in range(frames)))
    budget = int(keep * (frames * cells) + 0.5)
    if budget < 1:
        return
    found = STC(keep=keep, chunk=chunk).merge(tokens, None).check()  # type: ignore[arg-type]
    assert len(found) == budget
    scores = slow_scores(features.view(frames, cells, width).double().tolist(), chunk)
    for place, (_, index) in enumerate(found.by_grid()):
        cell = found.index[index] - place * cells
        assert abs(len(cell) - budget / frames) < 1
        # The kept are the least familiar; equal but for rounding may swap.
        left = [score for at, score in enumerate(scores[place]) if at not in cell.tolist()]
        assert not left or not len(cell) or max(scores[place][at] for at in cell.tolist()) <= min(left) + 1e-4


def test_a_new_object_keeps_its_patches() -> None:
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(1, 64, generator=generator)
    features = base + 0.1 * torch.randn(4 * 49, 64, generator=generator)
    planted = torch.tensor([3 * 49 + cell for cell in (16, 17, 23, 24)])
    features[planted] = torch.randn(1, 64, generator=generator) + 0.1 * torch.randn(4, 64, generator=generator)
    tokens = VisualTokens.full(features, tuple(Grid(7, 7) for _ in range(4)))
    found = STC(keep=0.15).merge(tokens, None)  # type: ignore[arg-type]
    assert set(planted.tolist()) <= set(found.index.tolist())


def test_fewer_tokens_than_frames_are_shared_out_too() -> None:
    tokens = VisualTokens.full(torch.randn(12, 4), tuple(Grid(2, 1) for _ in range(6)))
    assert len(STC(tokens=2).merge(tokens, None)) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("option", [{"chunk": 0}, {"interval": 0}, {"update": 0.0}, {"update": 1.2}, {"guard": 3.0}])
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        STC(**option)
    assert caught.value.field == next(iter(option))


def test_on_a_packed_tower_only_the_pruner_works(tiny: LoadHost) -> None:
    with pytest.raises(BadInput, match="reuse") as caught:
        STC().check(tiny("qwen2_5_vl"))
    assert caught.value.field == "interval"
    STC(interval=1).check(tiny("qwen2_5_vl"))
