"""The laws that every method obeys, on every host that it supports. A method is tested here by existing."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.host import HOSTS, Host
from tools.vlm.method import METHODS, STAGES, Method, Stage
from tools.vlm.prefill import Prefill, Prefilled, SubBlocks

QUESTION = "Is the red square on the left?"
VIDEO = make_frames(4)

PAIRS = [(method, host) for method in METHODS.names() for host in HOSTS.names()]
EXAMPLES = [
    (method, place, host)
    for method in METHODS.names()
    for place in range(len(METHODS.get(method).examples()))
    for host in HOSTS.names()
]


def supported(method: Method, host: Host) -> Compression:
    """The method alone; skips the test where it says that it cannot work on the host."""
    compression = Compression((method,))
    try:
        compression.check(host)
    except BadInput as error:
        pytest.skip(str(error))
    return compression


def run(host: Host, request: Request) -> Result:
    result = Engine(host).run([request])[0]
    assert isinstance(result, Result), result
    return result


def prefill(host: Host, request: Request) -> Prefilled:
    prefilled = Engine(host).prefill(request)
    assert bool(prefilled.logits.isfinite().all())
    assert all(bool(cache.keys.isfinite().all() & cache.values.isfinite().all()) for cache in prefilled.caches)
    return prefilled


@dataclass(frozen=True, kw_only=True)
class Witness(Method):
    """Watches what the decoder works on, and proves it layer by layer."""

    stage: ClassVar[Stage] = "prune"

    own_positions: bool

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        tokens, prompt = prefill.tokens.check(), prefill.prompt
        assert torch.equal(prefill.places[prefill.visual], prompt.cells[tokens.index])
        assert bool((prefill.places[1:] > prefill.places[:-1]).all())
        if not self.own_positions:
            assert torch.equal(prefill.positions, prompt.positions[:, prefill.places])
        text = prompt.slots[prefill.places] < 0
        assert int(text.sum()) == int((prompt.slots < 0).sum())
        prefill.context.memory(self).setdefault("layers", []).append(len(tokens))


@pytest.mark.parametrize("name", METHODS.names())
def test_describes_itself(name: str, tiny: LoadHost) -> None:
    kind = METHODS.get(name)
    assert kind.title
    assert kind.family
    assert kind.stage in STAGES
    assert kind.arxiv is not None or kind.number is not None or kind.family == "baseline"
    for method in kind.examples():
        assert method.name == name
        assert method.overrides(method.stage) or (method.stage == "attend" and method.overrides("positions"))
        hash(method)
    ways = [host for host in HOSTS.names() if _works(kind.examples()[0], tiny(host))]
    assert ways, f"{name} works on no host"


def _works(method: Method, host: Host) -> bool:
    try:
        Compression((method,)).check(host)
    except BadInput:
        return False
    return True


@cache
def plain(host: Host, media: str, count: int) -> tuple[torch.Tensor, tuple[int, ...]]:
    """The host's own logits ``[L, V]`` and generated ids."""
    request = Request(make_frames(count), QUESTION, max_new_tokens=3, media=media)  # type: ignore[arg-type]
    return Engine(host).prefill(request, every_logit=True).logits, run(host, request).ids


@pytest.mark.parametrize(("name", "host_name"), PAIRS)
def test_identity_is_the_host_itself(name: str, host_name: str, tiny: LoadHost) -> None:
    method = METHODS.get(name).identity()
    if method is None:
        pytest.skip(f"{name} has no setting that changes nothing")
    host = tiny(host_name)
    compression = supported(method, host)
    for media, count in (("video", 4), ("video", 1), ("image", 1)):
        request = Request(make_frames(count), QUESTION, compression, 3, media)  # type: ignore[arg-type]
        logits, ids = plain(host, media, count)
        ours = Engine(host).prefill(request, every_logit=True)
        torch.testing.assert_close(ours.logits, logits, atol=2e-4, rtol=0)
        if media == "video" and count == 4:
            assert run(host, request).ids == ids


@pytest.mark.parametrize(("name", "place", "host_name"), EXAMPLES)
def test_keeps_its_budget_in_order_and_accounts_for_every_patch(
    name: str, place: int, host_name: str, tiny: LoadHost
) -> None:
    host = tiny(host_name)
    method = METHODS.get(name).examples()[place]
    compression = supported(method, host)
    witness = Witness(own_positions=method.overrides("positions"))
    request = Request(VIDEO, QUESTION, Compression((*compression.methods, witness)), 3)
    result = run(host, request)
    report, provenance = result.report, result.provenance
    assert len(report.layers) == host.depth
    assert list(report.layers) == sorted(report.layers, reverse=True)
    expected = method.count(report.tokens_in)
    if expected is not None:
        assert report.layers[-1] == expected
    alive = provenance.owner >= 0
    held = np.bincount(provenance.owner[alive], minlength=len(provenance.mass))
    np.testing.assert_array_equal(held, provenance.mass)
    assert provenance.mass.sum() == alive.sum()
    assert report.layers[0] <= len(provenance.mass)
    assert (provenance.survived[~alive] == 0).all()
    assert all(seen.min() >= 0 and seen.max() <= 1 for seen in provenance.maps())
    # The same look without a witness, which made the layers run in pieces, gives the same.
    again = run(host, Request(VIDEO, QUESTION, compression, 3))
    assert again.ids == result.ids
    assert again.report.layers == report.layers


@pytest.mark.parametrize(("name", "host_name"), PAIRS)
def test_neither_neighbours_nor_repetition_change_a_result(name: str, host_name: str, tiny: LoadHost) -> None:
    host = tiny(host_name)
    compression = supported(METHODS.get(name).examples()[-1], host)
    requests = [
        Request(make_frames(count, seed=count), QUESTION, compression, limit, "video")
        for count, limit in ((2, 4), (4, 2))
    ]
    engine = Engine(host)
    together = engine.run(requests)
    for request, joint in zip(requests, together, strict=True):
        alone = engine.run([request])[0]
        assert isinstance(alone, Result)
        assert isinstance(joint, Result)
        assert alone.ids == joint.ids
        assert alone.report.layers == joint.report.layers
        assert alone.confidence == pytest.approx(joint.confidence, rel=1e-3)
        np.testing.assert_array_equal(alone.provenance.owner, joint.provenance.owner)
        np.testing.assert_array_equal(alone.provenance.survived, joint.provenance.survived)


@pytest.mark.parametrize(("media", "count"), [("video", 1), ("video", 64), ("image", 1)])
@pytest.mark.parametrize(("name", "host_name"), PAIRS)
def test_short_long_and_still(name: str, host_name: str, media: str, count: int, tiny: LoadHost) -> None:
    host = tiny(host_name)
    method = METHODS.get(name).examples()[-1]
    compression = supported(method, host)
    prefilled = prefill(host, Request(make_frames(count), QUESTION, compression, 1, media))  # type: ignore[arg-type]
    expected = method.count(len(prefilled.survived))
    assert expected is None or prefilled.visual[-1] == expected


@pytest.mark.parametrize(("name", "host_name"), PAIRS)
def test_bfloat16(name: str, host_name: str, tiny: LoadHost) -> None:
    host = tiny(host_name, "bfloat16")
    method = METHODS.get(name).examples()[0]
    prefilled = prefill(host, Request(VIDEO, QUESTION, supported(method, host), 1))
    assert {cache.keys.dtype for cache in prefilled.caches} == {torch.bfloat16}
    expected = method.count(len(prefilled.survived))
    assert expected is None or prefilled.visual[-1] == expected


@pytest.mark.parametrize("value", [0, 127])
@pytest.mark.parametrize(("name", "host_name"), PAIRS)
def test_pictures_without_content(name: str, host_name: str, value: int, tiny: LoadHost) -> None:
    host = tiny(host_name)
    method = METHODS.get(name).examples()[-1]
    frames = Frames(VIDEO.times, np.full_like(VIDEO.images, value))
    prefilled = prefill(host, Request(frames, QUESTION, supported(method, host), 2))
    expected = method.count(len(prefilled.survived))
    assert expected is None or prefilled.visual[-1] == expected
