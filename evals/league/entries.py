"""Who takes part: the host as it is, without its eyes, and with every method at every budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evals.league.changes import CHANGES, Change
from evals.league.oracle import Oracle
from evals.league.questions import Question, blind, seen, shuffled
from tools.errors import BadInput
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.host import Host
from tools.vlm.method import METHODS, Method

BUDGETS = (0.5, 0.25, 0.1, 0.05)
#: Names of the entries without a method.
FULL, BLIND, SHUFFLED = "full tokens", "blind", "shuffled"
#: Names of those that know what is shown, with the part of the rest that they keep.
ORACLES = {"only what shows something": 0.0, "that and a tenth of the rest": 0.1, "that and a third of the rest": 1 / 3}
#: All without a published method.
BARE = (FULL, BLIND, SHUFFLED, *ORACLES)
#: What a method has to beat.
BASELINES = ("random_keep", "average_pooling")


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes:
        name: of the method, or one of `BARE`.
        keep: its budget; None where there is none to set.
        change: what about the method is not as it is by default, in words; empty but for one of `CHANGES`.
        shown: what becomes of the frames before anyone sees them.
        kinds: of the questions that it is asked.
    """

    name: str
    keep: float | None = None
    method: Method | None = None
    shown: Callable[[Frames], Frames] = seen
    kinds: tuple[str, ...] = ("picture", "clip")
    change: str = ""

    def compression(self, question: Question, place: int = 0) -> Compression:
        """Its method alone, or nothing, for the question at ``place``: what a method draws is drawn anew for each, or
        one draw's luck would be taken for the method's worth."""
        if self.method is None:
            return Compression.NONE
        fresh = {"seed": place, "question": question}
        return Compression(
            (replace(self.method, **{name: fresh[name] for name in fresh if name in self.method.options}),)
        )


def entries(names: Sequence[str] | None = None, budgets: Sequence[float] = BUDGETS) -> list[Entry]:
    """Those of `BARE`, then the methods called ``names`` (all by default) with their own defaults: at every
    budget where ``keep`` is one of their options, else once; then what `CHANGES` makes of these."""
    found = [Entry(FULL), Entry(BLIND, shown=blind), Entry(SHUFFLED, shown=shuffled, kinds=("clip",))]
    found += [Entry(name, None, Oracle(rest=rest)) for name, rest in ORACLES.items()]
    for name in METHODS.names() if names is None else names:
        method = METHODS.get(name)()
        if "keep" in method.options:
            found += [Entry(name, keep, replace(method, **{"keep": keep})) for keep in budgets]
        else:
            found.append(Entry(name, None, method))
    return found + [_changed(change) for change in CHANGES if names is None or change.method in names]


def _changed(change: Change) -> Entry:
    method = replace(METHODS.get(change.method)(), **{"keep": change.keep, **change.options})
    return Entry(change.method, change.keep, method, change=change.words)


def fitting(entry: Entry, host: Host) -> Entry:
    """The entry; if the host refuses the method's defaults, the first of the method's examples that it accepts, at the
    entry's budget, where there is one."""
    if entry.method is None or entry.change or _accepts(host, type(entry.method)()):
        return entry
    budget = {} if entry.keep is None else {"keep": entry.keep}
    others = (replace(example, **budget) for example in entry.method.examples())
    return next((replace(entry, method=other) for other in others if _accepts(host, other)), entry)


def differences(entry: Entry) -> dict[str, Any]:
    """The options that are not at the method's default, but for the budget."""
    if entry.method is None or entry.change or entry.name in BARE:
        return {}
    usual = type(entry.method)().options
    return {name: value for name, value in entry.method.options.items() if name != "keep" and value != usual[name]}


def _accepts(host: Host, method: Method) -> bool:
    try:
        Compression((method,)).check(host)
    except BadInput:
        return False
    return True
