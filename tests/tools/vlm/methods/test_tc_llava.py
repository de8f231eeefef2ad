"""TC-LLaVA: two rotations are one by n + gamma t, and frames see themselves in full but nothing of what follows."""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request
from tools.vlm.host import Host
from tools.vlm.method import Method, Stage
from tools.vlm.methods.fastv import FastV
from tools.vlm.methods.tc_llava import TcLlava, frame_causal
from tools.vlm.prefill import Prefill, SubBlocks
from tools.vlm.primitives import probe
from tools.vlm.prompt import TEXT
from tools.vlm.tokens import Grid

QUESTION = "Which comes first?"
law = settings(max_examples=60)


def started(host: Host, method: TcLlava, count: int = 3, media: Any = "video") -> Prefill:
    frames = make_frames(count)
    context = Context(host, frames, QUESTION)
    context.enter(frames, host.prepare(frames, QUESTION, media))
    return Prefill(context, host.connect(host.encode(context.inputs), context.inputs), [method])


@torch.inference_mode()
def test_positions_follow_the_definition(host: Host) -> None:
    prefill = started(host, TcLlava(gamma=3.0), 4)
    prompt, grids = prefill.prompt, prefill.context.inputs.grids
    bounds = np.cumsum([grid.cells for grid in grids])
    expected, time = [], 0
    for place, slot in enumerate(prompt.slots.tolist()):
        if slot >= 0:
            time = int(np.searchsorted(bounds, slot, side="right"))
        expected.append([float(row[place]) + 3 * time for row in prompt.positions])
    torch.testing.assert_close(prefill.positions, torch.tensor(expected).T)
    assert prefill.next_position == prompt.next_position + 3 * (len(grids) - 1)
    if host.name == "llava_onevision":
        # One run of cells: the first frame has n, the second n + 3, and the text goes on from the last.
        start = int(prompt.cells[0])
        size = grids[0].cells
        row = prefill.positions[0].tolist()
        assert row[start + size - 1 : start + size + 1] == [start + size - 1, start + size + 3]
        assert all(after - before == 1 for before, after in zip(row[-5:-1], row[-4:], strict=True))


def test_published_vector() -> None:
    """Two frames of 2 x 2 at gamma 3: 0 1 2 3 and 7 8 9 10."""

    told: Any = SimpleNamespace(
        context=SimpleNamespace(inputs=SimpleNamespace(grids=(Grid(2, 2), Grid(2, 2)))),
        prompt=SimpleNamespace(slots=torch.cat([torch.arange(8), torch.tensor([TEXT])])),
        places=torch.arange(9),
        positions=torch.arange(9)[None],
    )
    found = TcLlava(gamma=3.0).positions(told)
    assert found.tolist() == [[0, 1, 2, 3, 7, 8, 9, 10, 11]]


@law
@given(st.integers(0, 500), st.integers(0, 64), st.floats(0, 4), st.integers(0, 99))
def test_two_rotations_are_one(place: int, frame: int, gamma: float, seed: int) -> None:
    value = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rate = 10000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)

    def turn(value: Tensor, angle: Tensor) -> Tensor:
        first, second = value.chunk(2)
        return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()])

    twice = turn(turn(value, place * rate), gamma * frame * rate)
    torch.testing.assert_close(twice, turn(value, (place + gamma * frame) * rate), atol=1e-9, rtol=0)


@law
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=5))
def test_mask_follows_the_definition(parts: list[tuple[int, int]]) -> None:
    frame = torch.tensor([f for at, (text, cells) in enumerate(parts) for f in [-1] * text + [at] * cells] + [-1])
    found = frame_causal(frame)
    for query, own in enumerate(frame.tolist()):
        for key, other in enumerate(frame.tolist()):
            assert bool(found[query, key]) == (key <= query or (own >= 0 and own == other))


@dataclass(frozen=True, kw_only=True)
class Listen(Method):
    """Keeps what the attention of each layer gave out, and the place of each row."""

    stage: ClassVar[Stage] = "prune"

    outputs: list[tuple[Tensor, Tensor]] = field(default_factory=list, hash=False)

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        self.outputs.append((prefill.places, parts.attention_out[0]))


def outputs(host: Host, frames: Frames, *methods: Method) -> list[tuple[Tensor, Tensor]]:
    listen = Listen()
    Engine(host).prefill(Request(frames, QUESTION, Compression((*methods, listen)), 1, "video"))
    return listen.outputs


def test_nothing_leaks_from_later_frames_and_own_frame_is_seen_in_full(host: Host) -> None:
    frames = make_frames(4)
    images = frames.images.copy()
    images[2:] = 255 - images[2:]
    changed = Frames(frames.times, images)
    context = Context(host, frames, QUESTION)
    inputs = host.prepare(frames, QUESTION, "video")
    context.enter(frames, inputs)
    bounds = np.cumsum([grid.cells for grid in inputs.grids])
    # The half of the grids that the first two frames gave.
    cells = inputs.prompt.cells
    before = int(cells[bounds[len(bounds) // 2 - 1] - 1]) + 1
    for (_, one), (_, other) in zip(outputs(host, frames, TcLlava()), outputs(host, changed, TcLlava()), strict=True):
        torch.testing.assert_close(one[:before], other[:before], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(one[before + 1 :], other[before + 1 :], atol=1e-3)
    # The first token of a frame sees the last one of it: that shows against the causal mask, in the first layer.
    full, causal = (outputs(host, frames, TcLlava(mask=mask))[0][1] for mask in ("frame", "causal"))  # type: ignore[arg-type]
    first, last = int(cells[0]), int(cells[bounds[0] - 1])
    assert not torch.allclose(full[first], causal[first], atol=1e-4)
    torch.testing.assert_close(full[last], causal[last], atol=1e-5, rtol=1e-4)


@dataclass(frozen=True, kw_only=True)
class Dense(Method):
    """Compares every layer's attention with a dense one under the mask and the positions of the definition."""

    stage: ClassVar[Stage] = "prune"

    lengths: list[int] = field(default_factory=list, hash=False)

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        host, normed = prefill.host, parts.attention_in
        slots = prefill.prompt.slots[prefill.places].tolist()
        owner = [grid for grid, item in enumerate(prefill.context.inputs.grids) for _ in range(item.cells)]
        frame = [owner[slot] if slot >= 0 else None for slot in slots]
        seen = torch.tensor(
            [
                [j <= i or (frame[i] is not None and frame[i] == frame[j]) for j in range(len(slots))]
                for i in range(len(slots))
            ]
        )
        time = np.maximum.accumulate([0 if at is None else at for at in frame])
        positions = prefill.prompt.positions[:, prefill.places] + torch.from_numpy(time)
        rotary = host.rotate(normed, positions[:, None].float())
        module, rows = host.layers[layer], torch.arange(len(slots))
        query, key = probe.queries(module, normed, rotary, rows), probe.keys(module, normed, rotary)
        value = probe.values(module, normed)
        share = len(query) // len(key)
        products = query @ key.repeat_interleave(share, 0).transpose(1, 2) * module.self_attn.scaling
        mixed = products.masked_fill(~seen, -torch.inf).softmax(-1) @ value.repeat_interleave(share, 0)
        expected = module.self_attn.o_proj(mixed.transpose(0, 1).flatten(1))
        torch.testing.assert_close(parts.attention_out[0], expected, atol=1e-4, rtol=1e-4)
        self.lengths.append(len(slots))


def test_attention_is_dense_attention_under_the_mask_also_after_pruning(host: Host) -> None:
    dense = Dense()
    methods = (TcLlava(), FastV(layer=2, keep=0.4), dense)
    Engine(host).prefill(Request(make_frames(3), QUESTION, Compression(methods), 1, "video"))
    assert len(dense.lengths) == host.depth
    assert dense.lengths[2] < dense.lengths[1]


def test_a_still_with_its_crops_is_one_frame(tiny: LoadHost) -> None:
    host = tiny("llava_onevision")
    plain = started(host, TcLlava(gamma=0.0), 1, "image")
    shifted = started(host, TcLlava(gamma=3.0), 1, "image")
    assert len(plain.context.inputs.grids) == 2, "the still is cut into crops"
    assert torch.equal(plain.positions.float(), shifted.positions.float())


@pytest.mark.parametrize("gamma", [-1.0, math.inf])
def test_a_gamma_that_cannot_order_is_refused(gamma: float) -> None:
    with pytest.raises(BadInput) as caught:
        TcLlava(gamma=gamma)
    assert caught.value.field == "gamma"


def test_positions_past_the_context_are_refused_before_the_tower_runs(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.tower, "encode", lambda *_: pytest.fail("model time was spent"))
    with pytest.raises(BadInput, match="context") as caught:
        Engine(host).look(make_frames(6), QUESTION, Compression((TcLlava(gamma=5000.0),)))
    assert caught.value.field == "frames"
