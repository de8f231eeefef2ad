"""FasterVLM against the eager CLS row and a slow top-k."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.conftest import LoadHost, make_frames
from tests.tools.vlm.methods.scored import best, frames, random, towerless, visual
from tools.errors import BadInput
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine
from tools.vlm.host import Host
from tools.vlm.methods.fastervlm import FasterVLM
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid

law = settings(max_examples=40)


@law
@given(st.integers(1, 4), st.integers(0, 999), st.data())
def test_every_frame_keeps_its_best(count: int, seed: int, data: st.DataObject) -> None:
    # Few different scores, so that ties occur.
    scores = (random(seed, count * 20) * 2).round()
    each = data.draw(st.integers(1, 20))
    tokens = visual(frames(count), (Signal("cls"), scores))
    found = FasterVLM(tokens=each * count).merge(tokens, towerless())
    values = scores.tolist()
    expected = [i for at in range(count) for i in best(values, list(range(at * 20, at * 20 + 20)), each)]
    assert found.index.tolist() == expected


def test_every_crop_keeps_its_best() -> None:
    grids = (Grid(4, 4, part="base"), Grid(4, 8, part="mosaic", tiles=(1, 2)))
    scores = torch.zeros(48)
    # All that matters lies in the left crop, and still the right one keeps its share.
    scores[[16, 17, 18, 19, 24, 25, 26, 27]] = 1.0
    found = FasterVLM(keep=0.25).merge(visual(grids, (Signal("cls"), scores)), towerless())
    x = found.position[found.position[:, 0] == 1, 2]
    assert (len(found), int((x < 4).sum()), int((x >= 4).sum())) == (12, 4, 4)
    assert bool((scores[found.index[4:]][x < 4] == 1).all())


@torch.inference_mode()
def test_keeps_the_top_of_the_eager_cls_row(tiny: LoadHost) -> None:
    host = tiny("llava")
    inputs = host.prepare(make_frames(3), "Where?", "video")
    module = host.tower.module  # type: ignore[attr-defined]
    module.set_attn_implementation("eager")
    try:
        maps = module(inputs.pixels, output_attentions=True).attentions
    finally:
        module.set_attn_implementation("sdpa")
    # The connector reads hidden state -2, which is the output of the block of map -2.
    row = maps[-2][:, :, 0, 1:].mean(1)
    expected = (row.topk(10).indices.sort(1).values + 49 * torch.arange(3)[:, None]).flatten()
    result = Engine(host).look(make_frames(3), "Where?", Compression((FasterVLM(tokens=30),)), media="video")
    assert (result.provenance.owner >= 0).nonzero()[0].tolist() == expected.tolist()


def test_needs_cls_attention_or_its_substitute(host: Host) -> None:
    (signal,) = FasterVLM().needs(host)
    assert signal == Signal("cls" if host.tower.has_cls else "received")
    if not host.tower.has_cls:
        with pytest.raises(BadInput, match="'cls'"):
            FasterVLM(source="cls").check(host)
