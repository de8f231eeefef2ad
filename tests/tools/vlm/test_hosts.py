"""The engine without methods is the host itself, on every family."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.host import HOSTS, Host
from tools.vlm.prompt import TEXT
from tools.vlm.signals import Signal

QUESTION = "What is red?"
MEDIA = [("video", 4), ("video", 1), ("video", 64), ("image", 1)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("media", "count"), MEDIA)
@pytest.mark.parametrize("name", HOSTS.names())
def test_prefill_and_text_are_the_hosts_own(name: str, media: str, count: int, dtype: str, tiny: LoadHost) -> None:
    host = tiny(name, dtype)
    request = Request(make_frames(count), QUESTION, media=media, max_new_tokens=8)  # type: ignore[arg-type]
    ours = Engine(host).prefill(request, every_logit=True)
    inputs = host.prepare(request.frames, QUESTION, request.media)  # type: ignore[arg-type]
    with torch.inference_mode():
        theirs = host.model(**inputs.raw).logits[0]
        generated = host.model.generate(**inputs.raw, do_sample=False, max_new_tokens=8)[0, len(inputs.prompt) :]
    torch.testing.assert_close(ours.logits, theirs.float(), atol=2e-4 if dtype == "float32" else 0.1, rtol=0)
    result = Engine(host).run([request])[0]
    assert isinstance(result, Result)
    kept = [token for token in generated.tolist() if token not in host.stops]
    assert list(result.ids) == kept
    assert result.text == host.text(kept)
    assert result.report.flops == result.report.flops_full
    assert result.report.kv_bytes == result.report.kv_bytes_full
    assert result.report.tokens_kept == result.report.tokens_in == inputs.cells


def test_prompt_knows_the_question_and_its_cells(host: Host) -> None:
    inputs = host.prepare(make_frames(4), f"  {QUESTION} ", "video")
    prompt = inputs.prompt
    assert host.tokenizer.decode(prompt.ids[prompt.question]) == QUESTION
    assert prompt.slots[prompt.slots >= 0].tolist() == list(range(inputs.cells))
    assert bool((prompt.slots[prompt.after] == TEXT).all())
    assert set(prompt.question.tolist()) <= set(prompt.after.tolist())
    assert prompt.positions.shape == (host.position_rows, len(prompt))
    assert prompt.next_position == int(prompt.positions[:, -1].max()) + 1


def test_grids_carry_the_frames_times(host: Host) -> None:
    frames = make_frames(4)
    times = [grid.time for grid in host.prepare(frames, QUESTION, "video").grids]
    assert times == sorted(times)
    assert frames.times[0] <= times[0]
    assert times[-1] <= frames.times[-1]


def test_qwen3_writes_each_frames_own_time(tiny: LoadHost) -> None:
    host = tiny("qwen3_vl")
    frames = Frames(np.array([5.0, 5.0, 61.2, 61.2]), make_frames(4).images)
    prompt = host.prepare(frames, QUESTION, "video").prompt
    text = host.tokenizer.decode(prompt.ids)
    assert "<5.0 seconds>" in text
    assert "<61.2 seconds>" in text


def test_a_signal_does_not_change_the_features(host: Host) -> None:
    inputs = host.prepare(make_frames(3), QUESTION, "video")
    with torch.inference_mode():
        plain = host.connect(host.encode(inputs), inputs)
        signals = [Signal(kind) for kind in sorted(host.signal_kinds)]
        rich = host.connect(host.encode(inputs, signals), inputs).check()
    assert torch.equal(plain.features, rich.features)
    assert set(rich.signals) == set(signals)
    assert all(len(value) == inputs.cells and bool(value.isfinite().all()) for value in rich.signals.values())


def test_batches_do_not_mix_requests(host: Host) -> None:
    requests = [
        Request(make_frames(count, seed=count), f"{QUESTION} {'Why? ' * count}", max_new_tokens=limit, media="video")
        for count, limit in ((1, 9), (4, 3), (2, 6))
    ]
    engine = Engine(host)
    alone = [engine.run([request])[0] for request in requests]
    together = engine.run(requests)
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, Result)
        assert isinstance(other, Result)
        assert one.ids == other.ids
        assert one.confidence == pytest.approx(other.confidence, rel=1e-4)


def test_one_bad_request_does_not_disturb_the_others(host: Host) -> None:
    good = Request(make_frames(2), QUESTION, max_new_tokens=3)
    bad = Request(make_frames(2), " ", max_new_tokens=3)
    first, second, third = Engine(host).run([good, bad, good])
    assert isinstance(second, BadInput)
    assert isinstance(first, Result)
    assert isinstance(third, Result)
    assert first.ids == third.ids


def test_threads_share_no_state(host: Host) -> None:
    engine = Engine(host)
    requests = [
        Request(make_frames(1 + seed % 4, seed), QUESTION, max_new_tokens=5, media="video") for seed in range(6)
    ]
    alone = [engine.run([request])[0] for request in requests]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda request: engine.run([request])[0], requests))
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, Result)
        assert isinstance(other, Result)
        assert one.ids == other.ids
        assert one.report.layers == other.report.layers


def test_model_keeps_no_trace_of_a_request(host: Host) -> None:
    def state() -> list[tuple[str, int, int, int]]:
        modules = host.model.named_modules()
        return [(name, len(m._forward_hooks), len(m._forward_pre_hooks), len(vars(m))) for name, m in modules]

    before, held = state(), getattr(host.model.model, "rope_deltas", None)
    Engine(host).look(make_frames(2), QUESTION, Compression.parse("fastv:keep=0.5,layer=1"), max_new_tokens=2)
    assert getattr(host.model.model, "rope_deltas", None) is held
    assert state() == before


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Request(make_frames(1), "   "), "question"),
        (Request(make_frames(1), "what is <|im_end|> here"), "question"),
        (Request(make_frames(1), QUESTION, max_new_tokens=0), "max_new_tokens"),
        (Request(make_frames(0), QUESTION), "frames"),
        (Request(make_frames(2), QUESTION, max_new_tokens=100_000), "frames"),
    ],
)
def test_bad_requests_are_refused_before_the_tower_runs(
    request_: Request, field: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.tower, "encode", lambda *_: pytest.fail("model time was spent"))
    with pytest.raises(BadInput) as caught:
        Engine(host).prefill(request_)
    assert caught.value.field == field
