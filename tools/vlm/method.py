"""What a method is: a small frozen dataclass with its paper that overrides one function of its stage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from torch import Tensor

from tools.errors import BadInput
from tools.registry import Registry
from tools.vlm.primitives.budget import resolve
from tools.vlm.signals import Signal
from tools.vlm.tokens import VisualTokens

if TYPE_CHECKING:
    from tools.media.frames import Frames
    from tools.vlm.cache import LayerCache
    from tools.vlm.context import Context
    from tools.vlm.host import Host, Inputs
    from tools.vlm.prefill import Prefill, SubBlocks
    from tools.vlm.towers import Tower

Stage = Literal["select", "encode", "connect", "merge", "prune", "cache", "attend", "decode"]
STAGES: tuple[Stage, ...] = ("select", "encode", "connect", "merge", "prune", "cache", "attend", "decode")


@dataclass(frozen=True, kw_only=True)
class Method:
    """A published way to spend fewer visual tokens. Its fields are its options; it keeps no state.

    A subclass sets the class variables, overrides the function named after its ``stage`` (further ones if the paper has
    several parts), and lives alone in its file in `tools.vlm.methods`. Whatever one request needs to remember goes into
    ``context.memory(self)``. Methods run under `torch.inference_mode`, and from several threads at once.
    """

    #: Title of the paper, its arXiv id, and the system's number in the catalogue (None for a baseline).
    title: ClassVar[str] = ""
    arxiv: ClassVar[str | None] = None
    number: ClassVar[int | None] = None
    #: What kind of idea it is, e.g. "pre-LLM pruning".
    family: ClassVar[str] = ""
    stage: ClassVar[Stage]
    training_free: ClassVar[bool] = True
    #: Hosts it is made for, by name; None means every host that has the signals.
    hosts: ClassVar[frozenset[str] | None] = None
    #: Stages that another method of the same compression must not have.
    conflicts: ClassVar[frozenset[Stage]] = frozenset()

    # What it needs.

    def needs(self, host: Host) -> Sequence[Signal]:
        """Signals of the vision tower that it wants in ``tokens.signals``."""
        return ()

    def check(self, host: Host) -> None:
        """Refuses what cannot work on ``host``; called before any model time is spent.

        Raises:
            BadInput: naming the option or the missing signal.
        """
        if self.hosts is not None and host.name not in self.hosts:
            raise BadInput(
                f"method '{self.name}' works on {', '.join(sorted(self.hosts))}, not on host '{host.name}'",
                remedy="choose another method, see `loupe methods`",
                field="method",
            )
        for signal in self.needs(host):
            if signal.kind not in host.signal_kinds:
                raise BadInput(
                    f"method '{self.name}' needs the signal '{signal.kind}', which host '{host.name}' does not have",
                    remedy=f"choose a method, or an option of it, that needs {' or '.join(sorted(host.signal_kinds))}",
                    field="method",
                )

    def count(self, tokens: int) -> int | None:
        """How many of ``tokens`` visual tokens it leaves after its last part; None if the content decides.

        Raises:
            BadInput: a budget below one token or above the input.
        """
        return tokens

    def reach(self, inputs: Inputs) -> float:
        """How far its `positions` carry the prompt beyond the host's own last position, at most."""
        return 0.0

    # The functions of the stages.

    def select(self, frames: Frames, context: Context) -> Sequence[int]:
        """Indices of the frames to keep, increasing, one at least."""
        raise NotImplementedError

    def encode(self, tower: Tower, inputs: Inputs, signals: Sequence[Signal], context: Context) -> VisualTokens:
        """Patch features ``[N, Dv]`` of the vision tower, where it runs the tower's layers itself."""
        raise NotImplementedError

    def connect(self, patches: VisualTokens, inputs: Inputs, context: Context) -> VisualTokens:
        """Visual tokens ``[N, D]`` from patch features, in place of the host's connector."""
        raise NotImplementedError

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        """Fewer visual tokens before they enter the prompt, by ``tokens.gather`` or ``tokens.merge``."""
        raise NotImplementedError

    def prune_layers(self, depth: int) -> Collection[int]:
        """Decoder layers (0..depth-1) before which `prune` is called."""
        return ()

    def prune(self, layer: int, tokens: VisualTokens, prefill: Prefill) -> VisualTokens:
        """Fewer visual tokens for decoder layer ``layer`` and all after it; ``tokens.features`` are hidden states."""
        raise NotImplementedError

    def observe(self, layer: int, parts: SubBlocks, prefill: Prefill) -> None:
        """Sees what the sub-blocks of every decoder layer took in and gave out (a prune method may record it)."""
        raise NotImplementedError

    def cache(self, layer: int, cache: LayerCache, prefill: Prefill) -> LayerCache:
        """The keys and values of one layer to decode with, after that layer's prefill."""
        raise NotImplementedError

    def attend(self, layer: int, normed: Tensor, prefill: Prefill) -> Tensor | None:
        """Output ``[1, L, D]`` of a decoder layer's attention in prefill, before the residual is added, by one or more
        calls of ``prefill.attention``; None leaves the layer as it is."""
        raise NotImplementedError

    def positions(self, prefill: Prefill) -> Tensor:
        """Rotary positions ``[R, L]`` of the sequence in place of the host's own (part of the attend stage)."""
        raise NotImplementedError

    def decode(self, logits: Tensor, branch: Tensor | None, context: Context) -> Tensor:
        """Next-token logits float32 ``[V]`` from the model's own and those of its `branch`, if it has one."""
        raise NotImplementedError

    def branch(self, tokens: VisualTokens, context: Context) -> VisualTokens | None:
        """Visual tokens of a second prompt that is decoded alongside with the same generated tokens."""
        return None

    # How the laws are run on it.

    @classmethod
    def identity(cls) -> Self | None:
        """The setting at which it must change nothing, or None where there is none."""
        return None

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Settings on which the law suite runs."""
        return (cls(),)

    # Derived.

    @property
    def name(self) -> str:
        """Its name in profiles and requests: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def options(self) -> dict[str, Any]:
        """Its fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def overrides(self, function: str) -> bool:
        """Whether it has its own ``function``."""
        return getattr(type(self), function) is not getattr(Method, function)

    def __str__(self) -> str:
        shown = [
            f"{item.name}={_written(getattr(self, item.name))}"
            for item in fields(self)
            if getattr(self, item.name) is not None or item.default is not None
        ]
        return f"{self.name}:{','.join(shown)}" if shown else self.name


@dataclass(frozen=True, kw_only=True)
class Budgeted(Method):
    """A method that leaves an exact number of tokens.

    Attributes:
        keep: share of its input to keep, above 0 and at most 1; 1 changes nothing.
        tokens: number of tokens to keep; overrides ``keep``.
    """

    keep: float = 0.25
    tokens: int | None = None

    def count(self, tokens: int) -> int | None:
        """How many of ``tokens`` it keeps: exactly its budget."""
        return resolve(tokens, self.keep, self.tokens)

    def budget(self, tokens: int) -> int:
        """The same number, for use inside the method."""
        return resolve(tokens, self.keep, self.tokens)

    def with_budget(self, *, keep: float | None = None, tokens: int | None = None) -> Self:
        """The same method with another budget."""
        return replace(self, keep=self.keep if keep is None else keep, tokens=tokens)

    @classmethod
    def identity(cls) -> Self | None:
        """Everything kept."""
        return cls(keep=1.0)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """A mild and a hard budget."""
        return (cls(keep=0.5), cls(keep=0.2))


def _written(value: object) -> str:
    """An option as `Compression.parse` reads it."""
    if value is None:
        return "none"
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


METHODS: Registry[Method] = Registry("tools.vlm.methods", Method, "method")
