"""Several processes that share the work of a step: each finds the gradients of a part of the batch on one thread.

Threads of one process need each other many thousand times a step: with models this small two of them are half as fast
again as one, and ten times slower than one as soon as another program wants a core. Processes need each other once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, multiprocessing

from tools.errors import LoupeError
from training.nano.batches import Batch
from training.nano.config import Sizes, Stage
from training.nano.learner import Learner
from training.nano.models import build


class Crew:
    """A learner and the processes that help it. Their parameters are the learner's own, in shared memory.

    Args:
        learner: on the processor if there are to be helpers.
        sizes: of the learner's models.
        vocabulary: the tokenizer's file.
        processes: how many work at a step, this one included.
    """

    def __init__(self, learner: Learner, sizes: Sizes, vocabulary: Path, processes: int = 1) -> None:
        self._learner = learner
        self._parameters = list(learner.parts.parameters())
        self._helpers: list[_Helper] = []
        if processes > 1:
            shared = torch.cat([parameter.detach().flatten() for parameter in self._parameters]).share_memory_()  # type: ignore[no-untyped-call]
            for parameter, view in zip(self._parameters, _views(shared, self._parameters), strict=True):
                parameter.data = view
            for _ in range(processes - 1):
                self._helpers.append(_Helper(sizes, vocabulary, learner, shared, self._parameters))

    def learn(self, batch: Batch, stage: Stage) -> dict[str, float]:
        """As `Learner.learn`; what compares samples with each other compares those of a part.

        Raises:
            LoupeError: if a helper has died.
        """
        count = min(len(batch), 1 + len(self._helpers))
        bounds = [len(batch) * place // count for place in range(count + 1)]
        parts = [slice(start, end) for start, end in pairwise(bounds)]
        weights = [(part.stop - part.start) / len(batch) for part in parts]
        busy = self._helpers[: count - 1]
        for helper, part, weight in zip(busy, parts[1:], weights[1:], strict=True):
            helper.begin(batch.part(part), stage, weight)
        own = batch if count == 1 else batch.part(parts[0])
        losses: list[Mapping[str, float]] = [self._learner.learn(own, stage, weights[0])]
        for helper in busy:
            losses.append(helper.end())
            there = [
                (parameter.grad, gradient)
                for parameter, gradient in zip(self._parameters, helper.gradients, strict=True)
                if parameter.grad is not None
            ]
            torch._foreach_add_([grad for grad, _ in there], [gradient for _, gradient in there])
        return {
            name: sum(weight * part[name] for weight, part in zip(weights, losses, strict=True)) for name in losses[0]
        }

    def close(self) -> None:
        """Ends the helpers."""
        for helper in self._helpers:
            helper.close()
        self._helpers = []


class _Helper:
    """The near end of a process that finds gradients.

    Attributes:
        gradients: what it found, a tensor for each parameter, in shared memory.
    """

    def __init__(
        self, sizes: Sizes, vocabulary: Path, learner: Learner, shared: Tensor, parameters: Sequence[Tensor]
    ) -> None:
        # Fresh interpreters: a fork of a process whose torch threads run may hang.
        context = multiprocessing.get_context("spawn")
        found = torch.zeros_like(shared).share_memory_()  # type: ignore[no-untyped-call]
        self.gradients = _views(found, parameters)
        self._pipe, other = context.Pipe()
        self._process = context.Process(
            target=_work,
            args=(other, sizes, vocabulary, learner.half, learner.fused, shared, found),
            name="gradients",
            daemon=True,
        )
        self._process.start()
        other.close()

    def begin(self, batch: Batch, stage: Stage, weight: float) -> None:
        with _alive():
            self._pipe.send((batch, stage, weight))

    def end(self) -> Mapping[str, float]:
        with _alive():
            losses: dict[str, float] = self._pipe.recv()
        return losses

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


def _work(
    pipe: Connection, sizes: Sizes, vocabulary: Path, half: bool, fused: bool, shared: Tensor, found: Tensor
) -> None:
    """Finds gradients until nobody asks any more."""
    torch.set_num_threads(1)
    learner = Learner(build(sizes, Tokenizer.from_file(str(vocabulary))), half=half, fused=fused)
    parameters = list(learner.parts.parameters())
    gradients = _views(found, parameters)
    for parameter, view in zip(parameters, _views(shared, parameters), strict=True):
        parameter.data = view
    while (asked := _next(pipe)) is not None:
        batch, stage, weight = asked
        found.zero_()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        learner.hold_tower(stage.tower == 0)
        pipe.send(learner.learn(batch, stage, weight))


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise LoupeError(
            "a process that shared the training's work has died",
            remedy="its own message stands above; go on with --resume",
        ) from error


def _next(pipe: Connection) -> tuple[Batch, Stage, float] | None:
    try:
        asked: tuple[Batch, Stage, float] = pipe.recv()
    except (EOFError, KeyboardInterrupt):
        return None
    return asked


def _views(flat: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Parts of a flat tensor in the parameters' shapes."""
    parts = torch.split(flat, [parameter.numel() for parameter in parameters])
    return [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]


__all__ = ["Crew"]
