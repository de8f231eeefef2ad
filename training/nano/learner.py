"""How wrong the models are about a batch, and which way to move them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from training.nano.attention import BY_ROWS, fuse
from training.nano.batches import Batch
from training.nano.config import Stage
from training.nano.eyes import Eyes, Seen
from training.nano.models import Models
from training.nano.voice import Spoken, Voice

#: Tokens that go through the decoder together on a processor.
_CHUNK = 2048


class Score(NamedTuple):
    """How questions were answered: by family how many rightly and how many there were, and by family, answer and what
    was said instead how many were not. The likeliest next tokens after a mistake are those after the right answer."""

    right: Counter[str]
    asked: Counter[str]
    mistakes: Counter[tuple[str, str, str]]

    def update(self, other: "Score") -> None:
        """Takes in other questions."""
        self.right.update(other.right)
        self.asked.update(other.asked)
        self.mistakes.update(other.mistakes)


class Learner:
    """The models on their device, with the losses.

    Args:
        half: whether matrices are multiplied in bfloat16.
        fused: whether layers are compiled on a processor that has a compiler, see `fuse`.
    """

    def __init__(self, models: Models, device: str = "cpu", *, half: bool = False, fused: bool = False) -> None:
        self.models, self.device, self.half, self.fused = models, torch.device(device), half, fused
        self.parts = models.parts().to(self.device).train()
        if self.device.type == "cpu":
            models.host.set_attn_implementation(BY_ROWS)
            self.fused = fused and fuse(models)
        self.eyes, self.voice = Eyes(models, self.device, fused=self.fused), Voice(models, self.device)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """The losses that the stage weighs, unweighted."""
        with self._precision():
            seen = self.eyes.see(batch, cls=stage.contrast > 0)
            found = self._seeing(batch, seen, stage)
            if speaks(batch, stage) or compares(batch, stage):
                spoken = self.voice.speak(batch, seen.tokens)
                found |= self._speaking(batch, spoken, stage, max(1, len(spoken.wanted)))
        return found

    def hold_tower(self, held: bool) -> None:
        """Whether the vision tower gets no gradients from now on."""
        model = self.models.host.model
        for parameter in (model.vision_tower if self.eyes.llava else model.visual).parameters():
            parameter.requires_grad_(not held)

    def learn(self, batch: Batch, stage: Stage, weight: float = 1.0) -> dict[str, float]:
        """Adds the gradients of ``weight`` times the weighed sum of `losses` to the parameters, and gives the losses.

        The decoder runs over a few samples at a time: what it keeps for the way back then stays in the processor's
        cache, which makes a step a quarter faster than in one piece. The tower runs once, for all losses.
        """
        with self._precision():
            seen = self.eyes.see(batch, cls=stage.contrast > 0)
            found = self._seeing(batch, seen, stage)
        values = {name: float(loss.detach()) for name, loss in found.items()}
        outputs, gradients = [], []
        if found:
            outputs.append(total(found, stage))
            gradients.append(torch.full_like(outputs[0], weight))
        if speaks(batch, stage) or compares(batch, stage):
            tokens = seen.tokens.detach().requires_grad_()
            values |= self._learn_to_speak(batch, tokens, stage, weight)
            assert tokens.grad is not None
            outputs.append(seen.tokens)
            gradients.append(tokens.grad)
        torch.autograd.backward(outputs, gradients)
        return values

    def _learn_to_speak(self, batch: Batch, tokens: Tensor, stage: Stage, weight: float) -> dict[str, float]:
        """As `learn`, for the decoder alone; the gradient of the pictures' tokens is left at ``tokens``."""
        count = max(1, int((batch.target >= 0).sum()))
        length = self.voice.opening(batch.frames.shape[1])[0].shape[0] + batch.ids.shape[1]
        size = max(1, _CHUNK // length) if self.device.type == "cpu" else len(batch)
        sums: dict[str, float] = {}
        for start in range(0, len(batch), size):
            rows = slice(start, start + size)
            with self._precision():
                part = batch.part(rows)
                spoken = self.voice.speak(part, tokens[rows])
                losses = self._speaking(part, spoken, stage, count, len(part) / len(batch))
            (weight * total(losses, stage)).backward()  # type: ignore[no-untyped-call]
            sums = {name: sums.get(name, 0.0) + float(loss.detach()) for name, loss in losses.items()}
        return sums

    def _speaking(
        self, batch: Batch, spoken: Spoken, stage: Stage, count: int, share: float = 1.0
    ) -> dict[str, Tensor]:
        """The losses of the decoder.

        Args:
            count: tokens that are to be said in the whole batch; ``share``, how much of it this part is.
        """
        found = {}
        if stage.language > 0:
            logits = self.voice.forgiving(batch, spoken.logits).float()
            found["language"] = F.cross_entropy(logits, spoken.wanted, reduction="sum") / count
        if compares(batch, stage):
            found["course"] = self.voice.course(batch, spoken) * share
        return found

    def _seeing(self, batch: Batch, seen: Seen, stage: Stage) -> dict[str, Tensor]:
        """The losses of the tower and the connector."""
        found = {}
        if stage.dense > 0:
            found["dense"] = self.eyes.dense(batch, seen)
        if stage.words > 0:
            found["words"] = self.eyes.words(batch, seen, plurals=stage.plurals)
        if stage.contrast > 0 and seen.cls is not None:
            found["contrast"] = self.eyes.contrast(batch, seen.cls)
        return found

    @torch.no_grad()
    def score(self, batch: Batch) -> Score:
        """How many questions of each family are answered to the letter, how many there are, and what else is said.

        Every next token is the likeliest exactly where greedy decoding says the answer, so nothing is generated here.
        Two more things count as families: the part of patches that show something which is named, and the captions that
        match their own sample best in the batch.
        """
        score = Score(Counter(), Counter(), Counter())
        right, asked, mistakes = score
        with self._precision():
            seen = self.eyes.see(batch, cls=self.models.search is not None)
            if seen.cls is not None:
                right["match"] += int(
                    (self.eyes.products(batch, seen.cls).argmax(0).cpu() == torch.arange(len(batch))).sum()
                )
                asked["match"] += len(batch)
            for kind, reading in seen.readings.items():
                labels = self.eyes.labels(batch, kind)
                there = labels > 0
                right[f"patch {kind}"] += int(((reading.argmax(-1) == labels) & there).sum())
                asked[f"patch {kind}"] += int(there.sum())
            if not (batch.ids.size or batch.courses):
                return score
            spoken = self.voice.speak(batch, seen.tokens)
            for kind, reading, labels in self.voice.courses(batch, spoken):
                there = labels > 0
                right[f"course {kind}"] += int(((reading.argmax(-1) == labels) & there).sum())
                asked[f"course {kind}"] += int(there.sum())
        wanted = batch.target >= 0
        said = np.full_like(batch.target, -1)
        said[wanted] = spoken.logits.argmax(-1).cpu().numpy()
        for row, families in enumerate(batch.families):
            for number, family in enumerate(families):
                answer = wanted[row] & (batch.turn[row] == number)
                asked[family] += 1
                if np.array_equal(said[row, answer], batch.target[row, answer]):
                    right[family] += 1
                else:
                    true, false = (self._text(tokens[row, answer]) for tokens in (batch.target, said))
                    mistakes[family, true, false] += 1
        return score

    def _text(self, tokens: npt.NDArray[np.int64]) -> str:
        return str(self.models.tokenizer.decode(tokens.tolist())).strip()

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()


def speaks(batch: Batch, stage: Stage) -> bool:
    """Whether the decoder learns to say something about a batch."""
    return stage.language > 0 and batch.ids.size > 0


def compares(batch: Batch, stage: Stage) -> bool:
    """Whether the decoder learns what has become of things in a batch."""
    return stage.course > 0 and bool(batch.courses)


def total(losses: Mapping[str, Tensor], stage: Stage) -> Tensor:
    """The sum of the losses as the stage weighs them."""
    return torch.stack([getattr(stage, name) * loss for name, loss in losses.items()]).sum()


def multiplies_half(device: str) -> bool:
    """Whether bfloat16 is multiplied faster than float32. On a processor it takes tiles for that: with vectors alone a
    step takes half as long again, and emulated three times as long."""
    return not device.startswith("cpu") or bool(torch.cpu.get_capabilities().get("amx_bf16"))


@contextmanager
def evaluating(parts: torch.nn.Module) -> Iterator[None]:
    """The parts in evaluation mode for a while."""
    parts.eval()
    try:
        yield
    finally:
        parts.train()
