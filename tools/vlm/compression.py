"""Methods put together, and everything that can be refused before any model time is spent."""

import dataclasses
import typing
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from pydantic import TypeAdapter, ValidationError

from tools.errors import BadInput, LoupeError, did_you_mean
from tools.vlm.host import Host
from tools.vlm.method import METHODS, STAGES, Budgeted, Method
from tools.vlm.signals import Signal

#: Functions that only one method of a compression may override.
EXCLUSIVE = ("encode", "connect", "attend", "positions", "decode")


@dataclass(frozen=True)
class Compression:
    """A row of methods. Each function of a stage is called on every method that overrides it, in this order.

    Attributes:
        methods: what is applied; empty runs the host as it is.
        positions: ``keep``: tokens keep the rotary positions of their cells; ``repack``: the shortened prompt is
            numbered anew from 0, as several official codes do (hosts with one row of positions only).
    """

    methods: tuple[Method, ...] = ()
    positions: Literal["keep", "repack"] = "keep"

    NONE: ClassVar["Compression"]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The compression written as ``name:option=value,option=value+name...``, e.g. ``fastv:keep=0.5,layer=2``.

        ``positions=repack`` may stand as a part of its own; ``none`` is no method. Values of a tuple are separated by
        ``/``.

        Raises:
            BadInput: an unknown method or option, or a value that does not fit.
        """
        methods, positions = [], "keep"
        for part in filter(None, (piece.strip() for piece in text.split("+"))):
            name, _, options = part.partition(":")
            if name.startswith("positions="):
                positions = name.removeprefix("positions=")
                if positions not in ("keep", "repack"):
                    raise BadInput(
                        f"there is no position policy '{positions}'",
                        remedy=did_you_mean(positions, ("keep", "repack")),
                        field="method",
                    )
            elif name != "none":
                methods.append(make_method(name, _options(part, options)))
        return cls(tuple(methods), "repack" if positions == "repack" else "keep")

    def with_budget(self, *, keep: float | None = None, tokens: int | None = None) -> Self:
        """The same methods, the last one before the decoder that has a budget (else the last of all) with another.

        Raises:
            BadInput: if none of the methods has a budget.
        """
        budgeted = [place for place, method in enumerate(self.methods) if isinstance(method, Budgeted)]
        merging = [place for place in budgeted if self.methods[place].overrides("merge")]
        if not budgeted:
            raise BadInput(
                f"'{self}' has no method with a token budget", remedy="name a method as well", field="method"
            )
        place = (merging or budgeted)[-1]
        method = self.methods[place]
        assert isinstance(method, Budgeted)
        changed = method.with_budget(keep=keep, tokens=tokens)
        return replace(self, methods=(*self.methods[:place], changed, *self.methods[place + 1 :]))

    def overriding(self, function: str) -> list[Method]:
        """The methods that have their own ``function``, in order."""
        return [method for method in self.methods if method.overrides(function)]

    def signals(self, host: Host) -> tuple[Signal, ...]:
        """Every signal that some method needs, once."""
        return tuple(dict.fromkeys(signal for method in self.methods for signal in method.needs(host)))

    def check(self, host: Host) -> None:
        """Refuses what cannot run on ``host``.

        Raises:
            BadInput: methods that exclude each other, a missing signal, a layer that is not there, a position policy
                that the host cannot follow.
        """
        for method in self.methods:
            method.check(host)
        kinds = [type(method) for method in self.methods]
        for method in self.methods:
            if kinds.count(type(method)) > 1:
                raise _incompatible(f"method '{method.name}' is there twice")
        for function in EXCLUSIVE:
            names = [method.name for method in self.overriding(function)]
            if len(names) > 1:
                raise _incompatible(f"methods '{names[0]}' and '{names[1]}' both replace '{function}'")
        for method in self.methods:
            for other in self.methods:
                met = [stage for stage in STAGES if stage in method.conflicts and other.overrides(stage)]
                if met and other is not method:
                    raise _incompatible(
                        f"method '{method.name}' does not go with '{other.name}', which works at stage '{met[0]}'"
                    )
        for signal in self.signals(host):
            try:
                host.tower.layer_index(signal, 0)
            except ValueError as error:
                raise BadInput(str(error), remedy="name a layer that is there", field="method") from error
        if self.positions == "repack" and host.position_rows > 1:
            raise BadInput(
                f"host '{host.name}' has rotary positions in time, height and width, which cannot be numbered anew",
                remedy="use positions=keep",
                field="method",
            )

    def check_budget(self, cells: int) -> list[int | None]:
        """Visual tokens after each method for an input of ``cells``; None from where the content decides.

        Raises:
            BadInput: a budget below one token or above what the method is given.
        """
        left: int | None = cells
        counts = []
        # Whatever their order in the compression, methods inside the decoder get what those before it leave.
        for method in sorted(self.methods, key=lambda method: STAGES.index(method.stage)):
            if left is None:
                # The content decides what comes in; the share alone can still be judged.
                method.count(cells)
            else:
                left = method.count(left)
            counts.append(left)
        return counts

    def __str__(self) -> str:
        return "+".join(map(str, self.methods)) or "none"


Compression.NONE = Compression()


def make_method(name: str, options: dict[str, str] | None = None) -> Method:
    """The method called ``name`` with options given as text.

    Raises:
        BadInput: an unknown method or option, or a value that does not fit its type.
    """
    if name not in METHODS:
        raise BadInput(
            f"there is no method called '{name}'", remedy=did_you_mean(name, METHODS.names()), field="method"
        )
    kind = METHODS.get(name)
    hints = typing.get_type_hints(kind)
    known = {item.name: hints[item.name] for item in dataclasses.fields(kind) if item.init}
    values: dict[str, Any] = {}
    for key, text in (options or {}).items():
        if key not in known:
            raise BadInput(f"method '{name}' has no option '{key}'", remedy=did_you_mean(key, known), field="method")
        adapter = TypeAdapter(known[key])
        try:
            if text != "none" and _is_tuple(known[key]):
                values[key] = adapter.validate_python(tuple(text.split("/")))
            else:
                values[key] = adapter.validate_strings(None if text == "none" else text)
        except ValidationError as error:
            raise BadInput(
                f"method '{name}' cannot use {key}={text}",
                remedy=error.errors()[0]["msg"].lower(),
                field="method",
            ) from error
    try:
        return kind(**values)
    except LoupeError:
        raise
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"method '{name}' cannot be made ({error})", remedy="give other options", field="method"
        ) from error


def _is_tuple(kind: Any) -> bool:
    """Whether an option of this type is a tuple, or either a tuple or None."""
    return any(typing.get_origin(part) is tuple for part in (kind, *typing.get_args(kind)))


def _options(part: str, text: str) -> dict[str, str]:
    options = {}
    for item in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not value:
            raise BadInput(f"'{part}' is no method with options", remedy="write name:option=value", field="method")
        options[key.strip()] = value.strip()
    return options


def _incompatible(message: str) -> BadInput:
    return BadInput(message, remedy="leave one of them out", field="method")
