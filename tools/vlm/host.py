"""A host: one family of vision-language models of transformers behind one interface, its classes unmodified."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tools.errors import BadInput, ProfileError
from tools.media.frames import Frames
from tools.registry import Registry
from tools.vlm.familiar import Familiar
from tools.vlm.primitives.accounting import DecoderShape
from tools.vlm.prompt import FIXED, TEXT, Prompt
from tools.vlm.signals import Signal, SignalKind
from tools.vlm.tokens import Grid, VisualTokens
from tools.vlm.towers import Tower

Media = Literal["video", "image"]


@dataclass(frozen=True)
class Inputs:
    """A request after the host's processor, before any model has run.

    Attributes:
        prompt: the uncompressed prompt.
        pixels: what the vision tower takes, in the host's own layout.
        patch_grids: the pictures as the tower's features come.
        grids: the cells that the connector makes of them.
        media: whether the pictures went in as a video or as stills.
        raw: everything that the processor returned: the arguments of the host's own ``forward``.
    """

    prompt: Prompt
    pixels: Tensor
    patch_grids: tuple[Grid, ...]
    grids: tuple[Grid, ...]
    media: Media
    raw: Mapping[str, Tensor]

    @property
    def cells(self) -> int:
        """P: visual tokens without compression."""
        return sum(grid.cells for grid in self.grids)


class Host(ABC):
    """One family of models. Holds no state of a request: many threads may use one host.

    Args:
        model: a loaded model of ``model_class``.
        processor: its processor.
        checkpoint: what it was loaded from, for messages and evidence.
    """

    #: Name of the transformers class, and the ``model_type`` in its checkpoints' config.
    model_class: ClassVar[str]
    model_type: ClassVar[str]

    def __init__(self, model: Any, processor: Any, checkpoint: str) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.checkpoint = checkpoint
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        text = model.model.language_model
        self.embedding: torch.nn.Module = text.embed_tokens
        self.layers: list[Any] = list(text.layers)
        self.norm: torch.nn.Module = text.norm
        self.rotary: torch.nn.Module = text.rotary_emb
        self.head: torch.nn.Module = model.lm_head
        self.shape = DecoderShape.of(model.config.text_config)
        self.context = int(model.config.text_config.max_position_embeddings)
        #: What logits are divided by where probabilities are read off them; no answer depends on it.
        self.temperature = float(getattr(model.config, "confidence_temperature", 1.0))
        #: Whether that was fitted, so that confidences are meant to be how often answers are right.
        self.calibrated = hasattr(model.config, "confidence_temperature")
        #: The words of its training; `load_host` sets it where the checkpoint tells.
        self.familiar: Familiar | None = None
        self._refuse_unsupported()
        self._control = sorted({*self.tokenizer.all_special_tokens, *self.tokenizer.get_added_vocab()})
        stops = model.generation_config.eos_token_id
        if stops is None:
            stops = self.tokenizer.eos_token_id
        self.stops: frozenset[int] = frozenset(stops if isinstance(stops, list) else [] if stops is None else [stops])
        self.tower = self.make_tower()

    # What an adapter gives.

    #: Rows of rotary positions: 1, or 3 for M-RoPE.
    position_rows: ClassVar[int] = 1

    @abstractmethod
    def make_tower(self) -> Tower:
        """The vision tower."""

    @property
    @abstractmethod
    def signal_kinds(self) -> frozenset[SignalKind]:
        """The kinds of signals that its tower has."""

    @abstractmethod
    def prepare(self, frames: Frames, question: str, media: Media) -> Inputs:
        """Runs the processor: pixels, grids and the uncompressed prompt. Spends no model time.

        Raises:
            BadInput: pictures or a question that it cannot take.
        """

    @abstractmethod
    def connect(self, patches: VisualTokens, inputs: Inputs) -> VisualTokens:
        """Visual tokens ``[N, D]`` in the decoder's width, signals reduced like the features."""

    # What all hosts share.

    @property
    def name(self) -> str:
        """Its name in profiles: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def depth(self) -> int:
        """Number of decoder layers."""
        return len(self.layers)

    def field(self, height: int, width: int) -> tuple[float, float, float, float] | None:  # noqa: ARG002
        """The part of a picture of this size that its tower sees, x0, y0, x1, y1 in fractions; None for all of it."""
        return None

    def encode(self, inputs: Inputs, signals: Sequence[Signal] = ()) -> VisualTokens:
        """Patch features ``[N, Dv]`` with the signals that were asked for."""
        return self.tower.encode(inputs.pixels, inputs.patch_grids, signals)

    def rotate(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines ``[B, L, d]`` of ``positions [R, B, L]``."""
        ids = positions[0] if self.position_rows == 1 else positions
        return self.rotary(hidden, ids)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits float32 ``[..., V]`` of the last layer's hidden states ``[..., D]``."""
        return self.head(self.norm(hidden)).float()  # type: ignore[no-any-return]

    def text(self, ids: Sequence[int]) -> str:
        """The generated ids as text, without control tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def clean(self, question: str) -> str:
        """The question without white space around it.

        Raises:
            BadInput: if it is empty or holds one of the model's control tokens.
        """
        question = question.strip()
        if not question:
            raise BadInput("the question is empty", remedy="ask something", field="question")
        for token in self._control:
            if token.strip() and token in question:
                raise BadInput(
                    f"the question contains '{token}', which controls the model",
                    remedy="leave it out",
                    field="question",
                )
        return question

    def chat(self, question: str, kind: Media, count: int) -> str:
        """The prompt text of ``count`` pictures (or one video) followed by the question."""
        content = [{"type": kind} for _ in range(count)] + [{"type": "text", "text": question}]
        return str(
            self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
        )

    def run_processor(self, text: str, **media: Any) -> dict[str, Tensor]:
        """The processor's output for one prompt, on the model's device; floats in the model's dtype."""
        batch = self.processor(text=[text], return_tensors="pt", return_offsets_mapping=True, **media)
        return {key: value.to(self.device) for key, value in batch.items() if isinstance(value, Tensor)}

    def make_prompt(
        self, raw: dict[str, Tensor], text: str, question: str, pattern: Tensor, fixed: Tensor, token: int
    ) -> Prompt:
        """The prompt from the processor's output, which loses its ``offset_mapping``.

        Args:
            pattern: int64, the cell or `FIXED` of each placeholder in order.
            fixed: ``[F, D]``, vectors of the fixed ones.
            token: id of the placeholder.
        """
        offsets = raw.pop("offset_mapping")[0].cpu()
        ids = raw["input_ids"][0]
        places = torch.nonzero(ids == token)[:, 0]
        if len(places) != len(pattern):
            raise ProfileError(
                f"the processor of '{self.checkpoint}' makes {len(places)} placeholders where its model makes "
                f"{len(pattern)} visual tokens",
                remedy="use the processor files that belong to this model",
                field="model",
            )
        slots = torch.full_like(ids, TEXT)
        slots[places] = pattern.to(ids.device)
        # The text before the question grows when placeholders are filled in; the text after it does not.
        end = int(offsets[:, 1].max()) - (len(text) - text.rindex(question) - len(question))
        start = end - len(question)
        inside = (offsets[:, 0] < end) & (offsets[:, 1] > start)
        positions, following = self.prompt_positions(raw)
        return Prompt(
            ids=ids,
            slots=slots,
            fixed=fixed,
            positions=positions,
            next_position=following,
            question=torch.nonzero(inside)[:, 0].to(ids.device),
        )

    def prompt_positions(self, raw: Mapping[str, Tensor]) -> tuple[Tensor, int]:
        """Rotary positions ``[R, L]`` of the uncompressed prompt, and that of the first generated token."""
        length = raw["input_ids"].shape[1]
        return torch.arange(length, device=self.device)[None], length

    def _refuse_unsupported(self) -> None:
        """Refuses decoders whose attention the layer runner would get wrong, and a temperature that is none."""
        if not 0 < self.temperature < math.inf:
            raise ProfileError(
                f"the config of '{self.checkpoint}' has the confidence_temperature {self.temperature}",
                remedy="write a number above 0, or leave it out",
                field="model",
            )
        config = self.model.config.text_config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise ProfileError(
                f"the decoder of '{self.checkpoint}' has {', '.join(sorted(kinds - {'full_attention'}))}",
                remedy="use a checkpoint whose layers all have full attention",
                field="model",
            )


def frame_pixels(frames: Frames) -> Tensor:
    """uint8 ``[N, 3, H, W]`` for a processor."""
    # Frames from the cache are read-only, which torch does not know.
    return torch.from_numpy(np.require(frames.images, requirements="W")).permute(0, 3, 1, 2)


HOSTS: Registry[Host] = Registry("tools.vlm.hosts", Host, "host")  # type: ignore[type-abstract]

__all__ = ["FIXED", "HOSTS", "TEXT", "Host", "Inputs", "Media", "frame_pixels"]
