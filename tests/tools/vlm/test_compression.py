"""Methods are named, combined and refused before any model time is spent; a new one is one file."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import tools.vlm.methods
from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.errors import BadInput
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.host import Host
from tools.vlm.method import METHODS, Budgeted, Method, Stage
from tools.vlm.methods.average_pooling import AveragePooling
from tools.vlm.methods.fastv import FastV
from tools.vlm.prefill import Prefill
from tools.vlm.signals import Signal
from tools.vlm.tokens import VisualTokens

QUESTION = "What is it?"


def test_parse_reads_methods_options_and_positions() -> None:
    found = Compression.parse(" average_pooling:keep=0.5 + fastv:tokens=7,layer=3,score=null + positions=repack")
    assert found.methods == (AveragePooling(keep=0.5), FastV(tokens=7, layer=3, score="null"))
    assert found.positions == "repack"
    assert Compression.parse("none") == Compression.parse("") == Compression.NONE
    assert Compression.parse(str(found)).methods == found.methods


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fastvv", "fastv"),
        ("fastv:kep=0.5", "keep"),
        ("fastv:keep", "name:option=value"),
        ("fastv:keep=lots", "keep=lots"),
        ("fastv:score=raw", "score=raw"),
        ("positions=somewhere", "repack"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        Compression.parse(text)
    assert caught.value.field == "method"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("random_keep:keep=0", "keep"),
        ("random_keep:keep=1.5", "keep"),
        ("random_keep:keep=0.0001", "keep"),
        ("random_keep:tokens=0", "tokens"),
        ("random_keep:tokens=100000", "tokens"),
        ("uniform_stride:tokens=8+fastv:tokens=9", "tokens"),
        ("fastv:layer=0", "layer"),
        ("fastv:layer=99", "layer"),
        ("fastv+fastv:keep=0.1", "method"),
    ],
)
def test_what_cannot_run_is_refused_before_the_tower_runs(
    text: str, field: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.tower, "encode", lambda *_: pytest.fail("model time was spent"))
    request = Request(make_frames(2), QUESTION, Compression.parse(text), 2)
    with pytest.raises(BadInput) as caught:
        Engine(host).prefill(request)
    assert caught.value.field == field


@dataclass(frozen=True, kw_only=True)
class WantsCls(Method):
    stage: ClassVar[Stage] = "merge"
    layer: int | None = None

    def needs(self, host: Host) -> Sequence[Signal]:
        return (Signal("cls", self.layer),)

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        return tokens.gather(tokens.signals[Signal("cls", self.layer)].argmax()[None])


def test_a_missing_signal_is_named(tiny: LoadHost) -> None:
    with pytest.raises(BadInput, match=r"'cls'.*'qwen2_5_vl'"):
        Compression((WantsCls(),)).check(tiny("qwen2_5_vl"))
    Compression((WantsCls(),)).check(tiny("llava"))
    with pytest.raises(BadInput, match="3 layers"):
        Compression((WantsCls(layer=7),)).check(tiny("llava"))
    result = Engine(tiny("llava")).look(make_frames(2), QUESTION, Compression((WantsCls(),)), max_new_tokens=1)
    assert set(result.report.layers) == {1}


@dataclass(frozen=True, kw_only=True)
class Causal(Method):
    stage: ClassVar[Stage] = "attend"
    conflicts: ClassVar[frozenset[Stage]] = frozenset({"merge"})

    def attend(self, layer: int, normed: torch.Tensor, prefill: Prefill) -> torch.Tensor | None:
        length = normed.shape[1]
        return prefill.attention(layer, normed, mask=torch.ones(length, length, dtype=torch.bool).tril())


@dataclass(frozen=True, kw_only=True)
class Other(Causal):
    pass


def test_methods_that_exclude_each_other(host: Host) -> None:
    Compression((Causal(), FastV())).check(host)
    with pytest.raises(BadInput, match="both replace 'attend'"):
        Compression((Causal(), Other())).check(host)
    with pytest.raises(BadInput, match="does not go with 'average_pooling'"):
        Compression((AveragePooling(), Causal())).check(host)


def test_an_attention_written_out_is_the_layers_own(host: Host) -> None:
    engine = Engine(host)
    plain, own = (
        engine.prefill(Request(make_frames(3), QUESTION, compression, 1), every_logit=True)
        for compression in (Compression.NONE, Compression((Causal(),)))
    )
    torch.testing.assert_close(plain.logits, own.logits, atol=2e-4, rtol=0)
    assert plain.pairs == own.pairs


@dataclass(frozen=True, kw_only=True)
class Subset(Method):
    """Only every second visual token takes part in attention, and only these are cached."""

    stage: ClassVar[Stage] = "attend"

    def attend(self, layer: int, normed: torch.Tensor, prefill: Prefill) -> torch.Tensor | None:
        stays = torch.ones(normed.shape[1], dtype=torch.bool)
        stays[prefill.visual[::2]] = False
        rows = torch.nonzero(stays)[:, 0]
        return torch.zeros_like(normed).index_copy(1, rows, prefill.attention(layer, normed, rows=rows))


def test_attention_of_some_rows_caches_those_alone(host: Host) -> None:
    request = Request(make_frames(3), QUESTION, Compression((Subset(),)), 3, "video")
    prefilled = Engine(host).prefill(request)
    gone = -(-prefilled.visual[0] // 2)
    assert [len(cache) for cache in prefilled.caches] == [prefilled.lengths[0] - gone] * host.depth
    result = Engine(host).run([request])[0]
    assert isinstance(result, Result)
    assert result.report.flops < result.report.flops_full
    assert result.report.kv_bytes < result.report.kv_bytes_full


def test_repacked_positions_count_from_zero(tiny: LoadHost) -> None:
    repack = Compression.parse("uniform_stride:tokens=5+positions=repack")
    for name in ("llava", "llava_onevision"):
        request = Request(make_frames(2), QUESTION, repack, 1, "video")
        prefilled = Engine(tiny(name)).prefill(request)
        assert prefilled.next_position == prefilled.lengths[0]
        kept = Engine(tiny(name)).prefill(Request(make_frames(2), QUESTION, Compression(repack.methods), 1, "video"))
        assert kept.next_position > kept.lengths[0]
    with pytest.raises(BadInput, match="positions=keep"):
        repack.check(tiny("qwen3_vl"))


def test_another_budget_goes_to_the_last_method_before_the_decoder() -> None:
    both = Compression.parse("average_pooling:keep=0.5+fastv:keep=0.5")
    changed = both.with_budget(tokens=9)
    assert changed.methods == (AveragePooling(keep=0.5, tokens=9), FastV(keep=0.5))
    assert Compression.parse("fastv").with_budget(keep=0.1).methods == (FastV(keep=0.1),)
    with pytest.raises(BadInput, match="budget"):
        Compression.NONE.with_budget(keep=0.5)


def test_counts_are_known_before_the_run(host: Host) -> None:
    both = Compression.parse("fastv:keep=0.5,layer=1+average_pooling:tokens=10")
    cells = host.prepare(make_frames(4), QUESTION, "video").cells
    assert both.check_budget(cells) == [10, 5]
    layers = Engine(host).look(make_frames(4), QUESTION, both, max_new_tokens=1).report.layers
    assert layers == (10, 5, 5, 5)


@pytest.fixture
def throwaway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A method in a file of its own, and nothing else."""
    (tmp_path / "every_third.py").write_text(
        '''"""Every third token."""
from dataclasses import dataclass
from typing import ClassVar

import torch

from tools.vlm.method import Method, Stage


@dataclass(frozen=True, kw_only=True)
class EveryThird(Method):
    """Keeps tokens 0, 3, 6 ..."""

    title: ClassVar[str] = "Every third"
    family: ClassVar[str] = "baseline"
    stage: ClassVar[Stage] = "merge"
    step: int = 3

    def count(self, tokens):
        return -(-tokens // self.step)

    def merge(self, tokens, context):
        return tokens.gather(torch.arange(0, len(tokens), self.step))

    @classmethod
    def identity(cls):
        return cls(step=1)
'''
    )
    monkeypatch.setattr(tools.vlm.methods, "__path__", [*tools.vlm.methods.__path__, str(tmp_path)])
    yield "every_third"
    sys.modules.pop("tools.vlm.methods.every_third", None)


def test_a_new_method_is_one_file(throwaway: str, tiny: LoadHost) -> None:
    from tests.tools.vlm import test_laws as laws

    assert throwaway in METHODS.names()
    assert Compression.parse("every_third:step=4").methods[0].options == {"step": 4}
    laws.test_describes_itself(throwaway, tiny)
    laws.test_identity_is_the_host_itself(throwaway, "qwen3_vl", tiny)
    laws.test_keeps_its_budget_in_order_and_accounts_for_every_patch(throwaway, 0, "llava_onevision", tiny)


def test_the_laws_notice_a_method_that_breaks_them(throwaway: str, tiny: LoadHost) -> None:
    from tests.tools.vlm import test_laws as laws

    METHODS.get(throwaway).count = lambda self, tokens: 2  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        laws.test_keeps_its_budget_in_order_and_accounts_for_every_patch(throwaway, 0, "llava", tiny)
    METHODS.get(throwaway).identity = classmethod(lambda cls: cls(step=2))  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        laws.test_identity_is_the_host_itself(throwaway, "llava", tiny)


def test_every_budgeted_method_is_one_dataclass_field_away_from_its_identity() -> None:
    for name in METHODS.names():
        kind = METHODS.get(name)
        if issubclass(kind, Budgeted):
            identity = kind.identity()
            assert identity is not None
            assert identity.count(100) == 100
