"""VTC-CLS against eager CLS rows, and against FasterVLM, of which it is the sum."""

import pytest
import torch

from tests.tools.vlm.conftest import make_frames
from tests.tools.vlm.methods.scored import best, frames, random, towerless, visual
from tools.errors import BadInput
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine
from tools.vlm.host import Host
from tools.vlm.method import Method
from tools.vlm.methods.fastervlm import FasterVLM
from tools.vlm.methods.vtc_cls import VTCCLS
from tools.vlm.signals import Signal


def layers(method: VTCCLS, depth: int = 24, there: range = range(23)) -> list[int | None]:
    return [signal.layer for signal in method.needs(towerless(depth=depth, layers=there).host)]


def test_layers_from_the_first_to_the_one_that_is_read() -> None:
    assert layers(VTCCLS()) == list(range(12, 23))
    assert layers(VTCCLS(start=0.0)) == list(range(23))
    assert layers(VTCCLS(start=22 / 24)) == layers(VTCCLS(start=1.0)) == [22]
    # A tower with window attention sees the whole picture in a few layers only.
    assert layers(VTCCLS(), depth=32, there=range(7, 32, 8)) == [23, 31]


def test_scores_are_summed_over_layers() -> None:
    method = VTCCLS(tokens=8, start=20 / 24)
    signals = [Signal("cls", layer=layer) for layer in (20, 21, 22)]
    scores = [random(place, 40) for place in range(3)]
    tokens = visual(frames(2), *zip(signals, scores, strict=True))
    total = sum(scores).tolist()  # type: ignore[union-attr]
    expected = best(total, list(range(20)), 4) + best(total, list(range(20, 40)), 4)
    assert method.merge(tokens, towerless()).index.tolist() == expected


def kept(host: Host, method: Method) -> list[int]:
    result = Engine(host).look(make_frames(3), "Where?", Compression((method,)), max_new_tokens=1, media="video")
    return [int(place) for place in (result.provenance.owner >= 0).nonzero()[0]]


def test_the_last_layer_alone_is_fastervlm(host: Host) -> None:
    assert kept(host, VTCCLS(keep=0.3, start=1.0)) == kept(host, FasterVLM(keep=0.3))


@torch.inference_mode()
def test_patches_and_cls_share_the_attention_of_every_layer(host: Host) -> None:
    if not host.tower.has_cls:
        pytest.skip("no CLS token")
    inputs = host.prepare(make_frames(2), "Where?", "video")
    module = host.tower.module  # type: ignore[attr-defined]
    module.set_attn_implementation("eager")
    try:
        maps = module(inputs.pixels, output_attentions=True).attentions
    finally:
        module.set_attn_implementation("sdpa")
    signals = VTCCLS(start=0.0).needs(host)
    found = host.encode(inputs, signals).signals
    total = torch.stack([found[signal] for signal in signals]).sum(0).view(2, -1).sum(1)
    own = torch.stack([part[:, :, 0, 0].mean(1) for part in maps[:-1]])
    torch.testing.assert_close(total, (1 - own).sum(0))


@pytest.mark.parametrize("start", [-0.1, 1.5])
def test_a_start_outside_the_tower_is_refused(start: float) -> None:
    with pytest.raises(BadInput) as caught:
        VTCCLS(start=start)
    assert caught.value.field == "start"
