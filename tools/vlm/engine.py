"""The pipeline: frames, patch features, visual tokens, prompt, prefill, text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from tools.errors import BadInput, LoupeError
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.confidence import confidence
from tools.vlm.context import Context
from tools.vlm.decode import Generation, generate
from tools.vlm.host import Host, Inputs
from tools.vlm.method import Method
from tools.vlm.prefill import Prefill, Prefilled
from tools.vlm.primitives import accounting
from tools.vlm.report import Clock, Provenance, Report, StageCount
from tools.vlm.tokens import VisualTokens


@dataclass(frozen=True)
class Request:
    """One look.

    Attributes:
        frames: pictures in order of time.
        question: what to answer.
        compression: which methods to use.
        max_new_tokens: longest answer.
        media: whether the pictures go in as a video or as a still; ``auto`` takes a single picture as a still.
    """

    frames: Frames
    question: str
    compression: Compression = field(default_factory=Compression)
    max_new_tokens: int = 64
    media: Literal["auto", "video", "image"] = "auto"


@dataclass(frozen=True)
class Result:
    """The answer to one request: text, how sure the model was (0..1, see `tools.vlm.confidence`), the generated token
    ids, what it cost and where every patch went."""

    text: str
    confidence: float
    ids: tuple[int, ...]
    report: Report
    provenance: Provenance


@dataclass
class _Started:
    """A request after prefill."""

    request: Request
    context: Context
    inputs: Inputs
    tokens: VisualTokens
    stages: list[StageCount]
    prefilled: Prefilled
    generation: Generation
    clock: Clock


class Engine:
    """Runs looks on one host. Safe to use from several threads: a request's state is its own."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def look(
        self,
        frames: Frames,
        question: str,
        compression: Compression | None = None,
        *,
        max_new_tokens: int = 64,
        media: Literal["auto", "video", "image"] = "auto",
    ) -> Result:
        """Answers one request.

        Raises:
            BadInput: something in the request cannot be used; found before any model time is spent.
        """
        compression = compression if compression is not None else Compression.NONE
        result = self.run([Request(frames, question, compression, max_new_tokens, media)])[0]
        if isinstance(result, LoupeError):
            raise result
        return result

    @torch.inference_mode()
    def run(self, requests: Sequence[Request]) -> list[Result | LoupeError]:
        """Answers several requests; one that cannot be used gives its error and does not disturb the others.

        Prefill goes request by request (it keeps all cores or the whole GPU busy as it is, and lengths differ);
        decoding, which is bound by reading the weights, goes in one batch.
        """
        started: list[_Started | LoupeError] = []
        for request in requests:
            try:
                started.append(self._start(request))
            except LoupeError as error:
                started.append(error)
        going = [item for item in started if isinstance(item, _Started)]
        clock = Clock(self.host.device)
        with clock("decode"):
            generate(self.host, [item.generation for item in going])
        return [item if isinstance(item, LoupeError) else self._finish(item, clock) for item in started]

    @torch.inference_mode()
    def prefill(self, request: Request, *, every_logit: bool = False) -> Prefilled:
        """Only the prefill of one request: logits and caches, for measurements and proofs."""
        return self._start(request, every_logit=every_logit).prefilled

    def _start(self, request: Request, *, every_logit: bool = False) -> _Started:
        host, compression, clock = self.host, request.compression, Clock(self.host.device)
        self._check(request)
        context = Context(host, request.frames, request.question)
        frames = request.frames
        with clock("select"):
            for method in compression.overriding("select"):
                frames = _chosen(frames, method.select(frames, context), method)
        media = request.media
        if media == "auto":
            media = "image" if len(request.frames) == 1 else "video"
        with clock("prepare"):
            inputs = host.prepare(frames, request.question, media)
        context.enter(frames, inputs)
        compression.check_budget(inputs.cells)
        self._check_length(inputs, request)
        tokens, stages = self._tokens(context, compression, clock)
        with clock("prefill"):
            prefill = Prefill(context, tokens, compression.methods, repack=compression.positions == "repack")
            prefilled = prefill.run(every_logit=every_logit)
            contrast, branch = self._branch(context, compression, tokens)
        generation = Generation(context, prefilled, request.max_new_tokens, contrast, branch)
        return _Started(request, context, inputs, tokens, stages, prefilled, generation, clock)

    def _check(self, request: Request) -> None:
        if len(request.frames) == 0:
            raise BadInput("there are no frames to look at", remedy="choose a span with frames", field="frames")
        if request.max_new_tokens < 1:
            raise BadInput(
                f"max_new_tokens={request.max_new_tokens} allows no answer",
                remedy="allow one token at least",
                field="max_new_tokens",
            )
        request.compression.check(self.host)

    def _check_length(self, inputs: Inputs, request: Request) -> None:
        """Refuses what the decoder has no positions for: tokens keep those of the uncompressed prompt."""
        if request.compression.positions == "repack":
            return
        reach = sum(method.reach(inputs) for method in request.compression.methods)
        longest = int(inputs.prompt.positions.max() + reach) + 1 + request.max_new_tokens
        if longest > self.host.context:
            raise BadInput(
                f"{len(request.frames)} frames make a prompt of {len(inputs.prompt)} tokens, and the model's context "
                f"ends at {self.host.context}",
                remedy="look at fewer frames or a smaller picture",
                field="frames",
            )

    def _tokens(
        self, context: Context, compression: Compression, clock: Clock
    ) -> tuple[VisualTokens, list[StageCount]]:
        """Encode, connect and merge."""
        host, inputs, stages = self.host, context.inputs, []
        signals = compression.signals(host)
        with clock("encode"):
            encoders = compression.overriding("encode")
            if encoders:
                patches = encoders[0].encode(host.tower, inputs, signals, context).check()
                stages.append(StageCount("encode", encoders[0].name, len(patches)))
            else:
                patches = host.encode(inputs, signals)
        with clock("connect"):
            connectors = compression.overriding("connect")
            if connectors:
                tokens = connectors[0].connect(patches, inputs, context)
                stages.append(StageCount("connect", connectors[0].name, len(tokens)))
            else:
                tokens = host.connect(patches, inputs)
        with clock("merge"):
            for method in compression.overriding("merge"):
                tokens = method.merge(tokens, context)
                stages.append(StageCount("merge", method.name, len(tokens)))
            tokens.check()
        return tokens, stages

    def _branch(
        self, context: Context, compression: Compression, tokens: VisualTokens
    ) -> tuple[Method | None, Prefilled | None]:
        """The method that changes logits, and the prefill of the second prompt that it wants."""
        for method in compression.overriding("decode"):
            second = method.branch(tokens, context)
            if second is None:
                return method, None
            # A prompt of its own: numbered from 0 where positions are a plain count.
            return method, Prefill(context, second.check(), repack=self.host.position_rows == 1).run()
        return None, None

    def _finish(self, item: _Started, decoding: Clock) -> Result:
        host, prefilled, prompt = self.host, item.prefilled, item.inputs.prompt
        full = [len(prompt)] * host.depth
        first = prefilled.caches[0].keys
        caches = list(prefilled.caches)
        report = Report(
            host=host.name,
            checkpoint=host.checkpoint,
            methods=tuple(map(str, item.request.compression.methods)),
            frames_in=len(item.request.frames),
            frames_kept=len(item.context.frames),
            tokens_in=item.inputs.cells,
            stages=tuple(item.stages),
            layers=tuple(prefilled.visual),
            flops=accounting.prefill_flops(host.shape, prefilled.lengths, prefilled.pairs),
            flops_full=accounting.prefill_flops(host.shape, full),
            kv_bytes=sum((cache.keys.numel() + cache.values.numel()) * cache.keys.element_size() for cache in caches),
            kv_bytes_full=accounting.kv_bytes(host.shape, full, first.element_size()),
            unknown=host.familiar.unknown(item.request.question) if host.familiar is not None else (),
            seconds={**item.clock.seconds, **decoding.seconds},
        )
        generation = item.generation
        text = host.text(generation.ids)
        provenance = Provenance(
            grids=item.inputs.grids,
            owner=item.tokens.owner.cpu().numpy(),
            mass=item.tokens.mass.cpu().numpy().astype(np.float32),
            survived=prefilled.survived.cpu().numpy(),
            depth=host.depth,
        )
        sure = confidence(host, item.request.question, text, generation.chances, generation.first)
        return Result(text, sure, tuple(generation.ids), report, provenance)


def _chosen(frames: Frames, indices: Sequence[int], method: Method) -> Frames:
    """The frames that a method selected.

    Raises:
        ValueError: if its choice is empty, out of order or out of range.
    """
    index = np.asarray(list(indices), dtype=np.int64)
    if len(index) == 0 or (np.diff(index) <= 0).any() or index[0] < 0 or index[-1] >= len(frames):
        raise ValueError(f"method '{method.name}' selected frames {index.tolist()} of {len(frames)}")
    return Frames(frames.times[index], frames.images[index], frames.decoded)
