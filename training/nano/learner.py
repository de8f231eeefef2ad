"""How wrong the models are about a batch, and which way to move them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from training.nano.attention import BY_ROWS
from training.nano.batches import Batch
from training.nano.config import Stage
from training.nano.eyes import Eyes, Seen
from training.nano.models import Models
from training.nano.voice import Voice

#: Tokens that go through the decoder together on a processor.
_CHUNK = 2048


class Learner:
    """The models on their device, with the losses.

    Args:
        half: whether matrices are multiplied in bfloat16.
    """

    def __init__(self, models: Models, device: str = "cpu", *, half: bool = False) -> None:
        self.models, self.device, self.half = models, torch.device(device), half
        self.parts = models.parts().to(self.device).train()
        if self.device.type == "cpu":
            models.host.set_attn_implementation(BY_ROWS)
        self.eyes, self.voice = Eyes(models, self.device), Voice(models, self.device)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """The losses that the stage weighs, unweighted."""
        with self._precision():
            seen = self.eyes.see(batch, cls=stage.contrast > 0)
            found = self._seeing(batch, seen, stage)
            if stage.language > 0 and batch.ids.size:
                logits, wanted = self.voice.speak(batch, seen.tokens)
                found["language"] = F.cross_entropy(self.voice.forgiving(batch, logits).float(), wanted)
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
        if stage.language > 0 and batch.ids.size:
            tokens = seen.tokens.detach().requires_grad_()
            values["language"] = self._learn_to_speak(batch, tokens, weight * stage.language)
            assert tokens.grad is not None
            outputs.append(seen.tokens)
            gradients.append(tokens.grad)
        torch.autograd.backward(outputs, gradients)
        return values

    def _learn_to_speak(self, batch: Batch, tokens: Tensor, weight: float) -> float:
        """As `learn`, for the language alone; the gradient of the pictures' tokens is left at ``tokens``."""
        count = int((batch.target >= 0).sum())
        length = self.voice.opening(batch.frames.shape[1])[0].shape[0] + batch.ids.shape[1]
        size = max(1, _CHUNK // length) if self.device.type == "cpu" else len(batch)
        sum_ = 0.0
        for start in range(0, len(batch), size):
            rows = slice(start, start + size)
            with self._precision():
                part = batch.part(rows)
                logits, wanted = self.voice.speak(part, tokens[rows])
                logits = self.voice.forgiving(part, logits).float()
                loss = F.cross_entropy(logits, wanted, reduction="sum") / count
            (weight * loss).backward()  # type: ignore[no-untyped-call]
            sum_ += float(loss.detach())
        return sum_

    def _seeing(self, batch: Batch, seen: Seen, stage: Stage) -> dict[str, Tensor]:
        """The losses of the tower and the connector."""
        found = {}
        if stage.dense > 0:
            found["dense"] = self.eyes.dense(batch, seen)
        if stage.words > 0:
            found["words"] = self.eyes.words(batch, seen)
        if stage.contrast > 0 and seen.cls is not None:
            found["contrast"] = self.eyes.contrast(batch, seen.cls)
        return found

    @torch.no_grad()
    def score(self, batch: Batch) -> tuple[Counter[str], Counter[str]]:
        """How many questions of each family are answered to the letter, and how many there are.

        Every next token is the likeliest exactly where greedy decoding says the answer, so nothing is generated here.
        Two more things count as families: the part of patches that show something which is named, and the captions that
        match their own sample best in the batch.
        """
        right: Counter[str] = Counter()
        asked: Counter[str] = Counter()
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
            if not batch.ids.size:
                return right, asked
            logits, wanted = self.voice.speak(batch, seen.tokens)
        target = torch.from_numpy(batch.target)
        wrong = torch.zeros_like(target, dtype=torch.bool)
        wrong[target >= 0] = (logits.argmax(-1) != wanted).cpu()
        for row, families in enumerate(batch.families):
            for number, family in enumerate(families):
                asked[family] += 1
                right[family] += int(not wrong[row, torch.from_numpy(batch.turn[row] == number)].any())
        return right, asked

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()


def total(losses: Mapping[str, Tensor], stage: Stage) -> Tensor:
    """The sum of the losses as the stage weighs them."""
    return torch.stack([getattr(stage, name) * loss for name, loss in losses.items()]).sum()


def multiplies_half(device: str) -> bool:
    """Whether bfloat16 is multiplied in hardware; emulated it is a third as fast as float32."""
    if not device.startswith("cpu"):
        return True
    return bool(torch.cpu.get_capabilities().get("amx_bf16") or torch.cpu.get_capabilities().get("avx512_bf16"))


@contextmanager
def evaluating(parts: torch.nn.Module) -> Iterator[None]:
    """The parts in evaluation mode for a while."""
    parts.eval()
    try:
        yield
    finally:
        parts.train()
