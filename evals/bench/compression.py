"""Compressed tokens: time to first token, FLOPs and memory at several budgets, and what each method itself costs.

The decoder has random weights in the sizes of LLaVA-OneVision 0.5B and gets 32 frames of 196 tokens. Times begin
behind the vision tower, whose work no method measured here changes, so the tower is a short one. Weights are bfloat16
where the processor multiplies those in hardware, float32 elsewhere.
"""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

if TYPE_CHECKING:
    import torch

    from tools.vlm.compression import Compression
    from tools.vlm.context import Context
    from tools.vlm.host import Host
    from tools.vlm.method import Method

FRAMES = 32
BUDGETS = (1.0, 0.5, 0.25, 0.1, 0.05)
#: The method that is shown at every budget, and the budget at which every method is shown.
SHOWN, KEEP = "divprune", 0.1
REPEATS = 2
#: Functions of the pipeline that run before the decoder has anything to do.
_BEFORE = ("select", "encode", "connect")


def run(out_dir: Path) -> list[dict[str, Any]]:  # noqa: ARG001 - nothing is kept between runs
    """A row for each budget of one method, then one for each method with a budget that works behind the tower."""
    import torch

    from evals.checkpoints import llava_onevision_05b
    from tools.vlm.hosts.llava_onevision import LlavaOnevision

    torch.manual_seed(0)
    model, processor = llava_onevision_05b(tower_layers=3)
    return measure(LlavaOnevision(model.to(_dtype()), processor, "random"), FRAMES)


def _dtype() -> "torch.dtype":
    """What this processor multiplies fastest: emulated, bfloat16 is a tenth as fast as float32."""
    import torch

    def seconds(dtype: torch.dtype) -> float:
        left, right = torch.ones(512, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
        taken = []
        for _ in range(3):
            started = time.perf_counter()
            torch.nn.functional.linear(left, right)
            taken.append(time.perf_counter() - started)
        return min(taken)

    return min((torch.bfloat16, torch.float32), key=seconds)


def measure(host: "Host", frames: int, repeats: int = REPEATS) -> list[dict[str, Any]]:
    """The rows for one host."""
    import torch

    from tools.vlm.compression import Compression
    from tools.vlm.method import METHODS, Budgeted

    made = [METHODS.get(name)() for name in METHODS.names()]
    later = [one for one in made if isinstance(one, Budgeted) and not any(map(one.overrides, _BEFORE))]
    shown = next(one for one in later if one.name == SHOWN)
    methods = [shown.with_budget(keep=keep) for keep in BUDGETS]
    methods += [one.with_budget(keep=KEEP) for one in later if one is not shown]
    compressions = [Compression((method,)) for method in methods if _fits(host, method)]
    with torch.inference_mode():
        seen = _Seen(host, frames, compressions)
        runs = [_Measured(compression) for compression in compressions]
        # In turns, so that whatever else the machine does falls on all alike.
        for turn in range(repeats):
            for one in runs[: len(BUDGETS)] if turn else runs:
                one.once(seen)
    return [one.row(runs[0]) for one in runs]


class _Seen:
    """Pictures that the tower has seen, with every signal that some compression wants."""

    def __init__(self, host: "Host", count: int, compressions: "list[Compression]") -> None:
        from tools.media.frames import Frames

        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (count, 27, 48, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
        self.host = host
        self.frames = Frames(times=np.arange(count, dtype=np.float64) * 2, images=images)
        self.question = "What is written on the red sign behind the speaker?"
        signals = dict.fromkeys(signal for compression in compressions for signal in compression.signals(host))
        self.inputs = host.prepare(self.frames, self.question, "video")
        self.tokens = host.connect(host.encode(self.inputs, tuple(signals)), self.inputs)

    def context(self) -> "Context":
        """A request about them that nobody has worked on yet."""
        from tools.vlm.context import Context

        context = Context(self.host, self.frames, self.question)
        context.enter(self.frames, self.inputs)
        return context


class _Measured:
    """What one compression took, over several runs."""

    def __init__(self, compression: "Compression") -> None:
        self.compression = compression
        self.seconds: list[tuple[float, float]] = []
        self.peak = 0
        self.flops = 0
        self.visual = 0.0

    def once(self, seen: _Seen) -> None:
        """From visual tokens to the first token's logits."""
        from tools.vlm.prefill import Prefill
        from tools.vlm.primitives import accounting

        context, tokens = seen.context(), seen.tokens
        gc.collect()
        with _peak() as peak:
            started = time.perf_counter()
            for method in self.compression.overriding("merge"):
                tokens = method.merge(tokens, context)
            between = time.perf_counter()
            prefilled = Prefill(context, tokens, self.compression.methods).run()
            prefilled.logits.argmax().item()
            ended = time.perf_counter()
        self.seconds.append((between - started, ended - between))
        self.peak = max(self.peak, peak[0])
        self.flops = accounting.prefill_flops(context.host.shape, prefilled.lengths, prefilled.pairs)
        self.visual = float(np.mean(prefilled.visual))

    def row(self, full: "_Measured") -> dict[str, Any]:
        """The table's row, against the run in which nothing was left out."""
        merge = median(merge for merge, _ in self.seconds)
        prefill = median(prefill for _, prefill in self.seconds)
        whole = median(sum(both) for both in full.seconds)
        faster, predicted = whole / (merge + prefill), full.flops / self.flops
        (method,) = self.compression.methods
        return {
            "method": method.name,
            "keep": method.options["keep"],
            "tokens_a_layer": round(self.visual),
            "merge_s": round(merge, 4),
            "prefill_s": round(prefill, 3),
            "speed_up": round(faster, 2),
            "flops_ratio": round(predicted, 2),
            "of_predicted": round(faster / predicted, 3),
            "merge_of_saved": round(merge / (whole - prefill), 4) if whole > prefill * 1.05 else "",
            "peak_mb": self.peak >> 20,
        }


def _fits(host: "Host", method: "Method") -> bool:
    from tools.errors import BadInput
    from tools.vlm.compression import Compression

    try:
        Compression((method,)).check(host)
    except BadInput:
        return False
    return True


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Bytes by which this process's resident memory rose at most, sampled every few milliseconds."""
    process, result, over = psutil.Process(), [0], threading.Event()
    if sys.platform == "linux":
        # What was freed earlier and kept for later would hide as much of what is needed now.
        ctypes.CDLL(None).malloc_trim(0)
    before = process.memory_info().rss

    def watch() -> None:
        while not over.wait(0.005):
            result[0] = max(result[0], process.memory_info().rss - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield result
    finally:
        over.set()
        thread.join()
