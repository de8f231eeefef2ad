"""Colours and shapes that are swapped for others behind the vision tower, so that neither says anything of the other.

Whoever meets red things that are never stars learns to tell from red that it is no star, though the tower sees both.
With red swapped for a colour at random, before all that learns to speak of it, red says nothing of shapes. No picture
and no word of a pair that training lacks is needed for that.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evals.synth.scenes import CLASSES, Sample, Turn
from evals.synth.scenes.vocabulary import CLASS_OF, COLOURS, SHAPES

#: For each of `KINDS` what every class is swapped for, which is mostly itself: ``[classes]``.
Swaps = dict[str, npt.NDArray[np.int64]]

#: What is swapped.
KINDS = {"colour": tuple(COLOURS), "shape": SHAPES}
#: How often a class that is there and not spoken of is swapped beside the first one.
_ALSO = 0.5


def no_swaps() -> Swaps:
    """Every class swapped for itself."""
    return {kind: np.arange(len(CLASSES[kind])) for kind in KINDS}


def swap(sample: Sample, turns: Sequence[Turn], chance: np.random.Generator) -> tuple[Swaps, list[Turn]]:
    """Some of a near sample's colours, or some of its shapes, swapped for others at random; and the turns that are as
    true of it as before, which are those that speak of none of either."""
    swaps = no_swaps()
    # What changes its colour is not to get that of before or after.
    changes = "origin" in sample.courses and bool(sample.courses["origin"].any())
    kind = "shape" if changes or chance.random() < 0.5 else "colour"
    names = KINDS[kind]
    classes = np.array([CLASS_OF[kind][name] for name in names])
    there = np.flatnonzero(np.isin(classes, getattr(sample, kind)))
    if not len(there):
        return swaps, [*turns]
    first = int(chance.choice(there))
    left = [turn for turn in turns if not _speaks_of(turn, names[first])]
    if turns and not left:
        return swaps, [*turns]
    silent = [at for at, name in enumerate(names) if not any(_speaks_of(turn, name) for turn in left)]
    for at in there:
        others = [other for other in silent if other != at]
        if at in silent and others and (at == first or chance.random() < _ALSO):
            swaps[kind][classes[at]] = classes[int(chance.choice(others))]
    return swaps, left


def _speaks_of(turn: Turn, name: str) -> bool:
    """Whether question, options or answer name a colour or a shape, be it in the plural."""
    return re.search(rf"\b{name}(e?s)?\b", f"{turn.question} {turn.answer}") is not None


__all__ = ["KINDS", "Swaps", "no_swaps", "swap"]
