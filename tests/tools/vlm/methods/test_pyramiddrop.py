"""PyramidDrop against a full-length run of the eager model in which dropped keys are masked."""

from typing import Any

import pytest
import torch

from tests.tools.vlm.conftest import LoadHost, make_frames
from tests.tools.vlm.methods.scored import best
from tools.errors import BadInput
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request
from tools.vlm.host import Host
from tools.vlm.methods.pyramiddrop import PyramidDrop
from tools.vlm.prefill import Prefill

QUESTION = "Where is it?"
SHOWN = make_frames(3)


def test_the_papers_stages() -> None:
    method = PyramidDrop()
    assert method.counts(576) == [288, 144, 72]
    assert method.count(576) == 72
    assert list(method.prune_layers(32)) == [8, 16, 24]
    assert list(method.prune_layers(28)) == [7, 14, 21]
    assert PyramidDrop(tokens=1).counts(1000) == [100, 10, 1]


def test_shares_are_of_what_entered_the_first_stage(tiny: LoadHost) -> None:
    method = PyramidDrop(keep=0.05)
    assert method.counts(49) == [18, 7, 2]
    # A share that is a token of 49 and none of 7.
    result = Engine(tiny("llava")).look(make_frames(1), QUESTION, Compression((method,)), max_new_tokens=1)
    assert result.report.layers == (49, 18, 7, 2)


def masked_run(host: Host, method: PyramidDrop) -> tuple[torch.Tensor, list[int]]:
    """Logits of the last token, and visual tokens a layer, of the eager model with ever more keys masked."""
    context = Context(host, SHOWN, QUESTION)
    context.enter(SHOWN, host.prepare(SHOWN, QUESTION, "video"))
    start = Prefill(context, host.connect(host.encode(context.inputs), context.inputs))
    hidden, length = start.hidden, len(start.places)
    queries = (start.question if method.query == "question" else start.last).tolist()
    alive = start.visual.tolist()
    total, counts = len(alive), []
    stages = dict(zip(method.prune_layers(host.depth), range(1, 99), strict=False))
    ratio = method.keep ** (1 / len(stages))
    open_to = torch.ones(length, length, dtype=torch.bool).tril()
    host.model.set_attn_implementation("eager")
    try:
        for at, layer in enumerate(host.layers):

            def run(mask: torch.Tensor, layer: Any = layer, hidden: torch.Tensor = hidden) -> tuple[Any, Any]:
                bias = torch.zeros(1, 1, length, length).masked_fill(~mask, torch.finfo(torch.float32).min)
                kwargs = {"attention_mask": bias, "position_embeddings": start.rotary}
                normed = layer.input_layernorm(hidden)
                return layer(hidden, **kwargs), layer.self_attn(hidden_states=normed, **kwargs)[1]

            if at in stages:
                row = run(open_to)[1][0][:, queries].mean((0, 1)).tolist()
                alive = best(row, alive, int(total * ratio ** stages[at] + 0.5))
                dropped = [place for place in start.visual.tolist() if place not in alive]
                open_to[:, dropped] = False
                # A row must see something; what dropped tokens compute is never looked at.
                open_to[dropped, dropped] = True
            output, _ = run(open_to)
            hidden = output[0] if isinstance(output, tuple) else output
            counts.append(len(alive))
    finally:
        host.model.set_attn_implementation("sdpa")
    return host.logits(hidden[0, -1]), counts


@pytest.mark.parametrize("query", ["last", "question"])
@pytest.mark.parametrize("name", ["llava", "llava_onevision", "qwen2_5_vl"])
@torch.inference_mode()
def test_equals_a_masked_run_that_ranks_by_eager_rows(name: str, query: Any, tiny: LoadHost) -> None:
    host, method = tiny(name), PyramidDrop(keep=0.2, query=query)
    logits, counts = masked_run(host, method)
    found = Engine(host).prefill(Request(SHOWN, QUESTION, Compression((method,)), 1, "video"))
    assert found.visual == counts
    torch.testing.assert_close(found.logits, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("query", ["last", "question"])
def test_both_scores_keep_the_same(query: Any, host: Host) -> None:
    survived = [
        Engine(host).prefill(
            Request(SHOWN, QUESTION, Compression((PyramidDrop(keep=0.3, query=query, score=score),)), 1, "video")  # type: ignore[arg-type]
        )
        for score in ("published", "null")
    ]
    assert torch.equal(survived[0].survived, survived[1].survived)


def test_shares_are_of_what_enters_the_first_stage(tiny: LoadHost) -> None:
    host = tiny("llava")
    report = Engine(host).look(SHOWN, QUESTION, Compression.parse("uniform_stride:tokens=80+pyramiddrop")).report
    assert list(report.layers) == [80, 40, 20, 10]


@pytest.mark.parametrize("layers", [(), (0.0, 0.5), (0.5, 0.25), (0.5, 0.55), (0.5, 1.0)])
def test_layers_that_do_not_fit_are_refused(layers: tuple[float, ...], tiny: LoadHost) -> None:
    with pytest.raises(BadInput) as caught:
        PyramidDrop(layers=layers).check(tiny("llava"))
    assert caught.value.field == "layers"
