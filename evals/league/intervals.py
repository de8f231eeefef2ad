"""Accuracy kept and its uncertainty: a paired bootstrap over questions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DRAWS = 4000
_BOUNDS = (2.5, 97.5)


@dataclass(frozen=True)
class Kept:
    """The accuracy left, as a share of the accuracy with full tokens, with its 95 % interval."""

    share: float
    low: float
    high: float


class Bootstrap:
    """Questions drawn again and again with replacement, of every task as many as there are; the same draws serve every
    comparison, so that what is compared was asked the same.

    Args:
        tasks: of every question.
    """

    def __init__(self, tasks: Sequence[str], *, draws: int = _DRAWS, seed: int = 0) -> None:
        chance = np.random.default_rng(seed)
        self.tasks = np.array(tasks)
        self._times = np.zeros((draws, len(tasks)))
        for task in sorted(set(tasks)):
            places = np.flatnonzero(self.tasks == task)
            even = np.full(len(places), 1 / len(places))
            self._times[:, places] = chance.multinomial(len(places), even, size=draws)

    def kept(
        self,
        right: npt.NDArray[np.bool_],
        full: npt.NDArray[np.bool_],
        inside: npt.NDArray[np.bool_] | None = None,
    ) -> Kept | None:
        """Right answers (bool ``[Q]``) as a share of those with full tokens, of all questions or of those ``inside``
        (bool ``[Q]``); None where full tokens answer none of them."""
        inside = np.ones(len(full), dtype=np.bool_) if inside is None else inside
        if not full[inside].any():
            return None
        ours, theirs = self._times[:, inside] @ right[inside], self._times[:, inside] @ full[inside]
        low, high = np.percentile(ours[theirs > 0] / theirs[theirs > 0], _BOUNDS)
        return Kept(float(right[inside].sum() / full[inside].sum()), float(low), float(high))

    def beats(self, right: npt.NDArray[np.bool_], baseline: Floats) -> bool:
        """Whether the 95 % interval of the difference in right answers lies above zero.

        Args:
            baseline: how right the other is, 0..1, by question.
        """
        return bool(np.percentile(self._times @ (right - baseline), _BOUNDS[0]) > 0)


def at_share(share: float, shares: Sequence[float], right: npt.NDArray[np.bool_]) -> Floats:
    """How right a baseline would be, by question, if it spent ``share`` of the tokens: between the two nearest of its
    budgets in proportion to the logarithm, beyond them as at the last.

    Args:
        shares: what it spent at each of its budgets, none twice.
        right: ``[B, Q]``, how it answered at each.
    """
    order = np.argsort(shares)
    place = float(np.interp(np.log(share), np.log(np.array(shares)[order]), np.arange(len(order))))
    below = int(place)
    above = min(below + 1, len(order) - 1)
    weight = place - below
    return np.asarray((1 - weight) * right[order[below]] + weight * right[order[above]], dtype=np.float64)
