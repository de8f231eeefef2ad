"""Puts things where they can be seen: inside the frame, apart from each other, clearly in one part of the frame."""

import random
from dataclasses import dataclass, field

from evals.synth.scenes.vocabulary import SIZES

#: Room between things and at the edge, and between a middle and the lines that divide the frame into parts.
_GAP, _EDGE, _LINE = 0.03, 0.015, 0.03
_TRIES = 24


@dataclass
class Layout:
    """Boxes that have been placed in a frame of side 1."""

    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)

    def place(self, chance: random.Random, half: tuple[float, float]) -> tuple[float, float] | None:
        """The middle for a box with these half sides, its part of the frame drawn first; None if there is no room."""
        half_x, half_y = half
        for _ in range(_TRIES):
            x = _within(chance, half_x)
            y = _within(chance, half_y)
            if x is not None and y is not None and self.free(x, y, half):
                self.boxes.append((x, y, half_x, half_y))
                return x, y
        return None

    def free(self, x: float, y: float, half: tuple[float, float]) -> bool:
        """Whether a box there would stand clear of all others."""
        return all(
            abs(x - other_x) >= half[0] + other_half_x + _GAP or abs(y - other_y) >= half[1] + other_half_y + _GAP
            for other_x, other_y, other_half_x, other_half_y in self.boxes
        )


def _within(chance: random.Random, half: float) -> float | None:
    """A coordinate in a third of the frame chosen at random, clear of the third's borders."""
    third = int(chance.random() * 3)
    low = max(third / 3 + (_LINE if third else 0), half + _EDGE)
    high = min((third + 1) / 3 - (_LINE if third < 2 else 0), 1 - half - _EDGE)
    return chance.uniform(low, high) if low < high else None


def height_of(chance: random.Random, size: str) -> float:
    """A height that is clearly of that size."""
    return SIZES[size] * chance.uniform(0.93, 1.07)


def clear_of_lines(chance: random.Random, half: float) -> float:
    """A coordinate for a box with that half side: inside the frame, its middle clearly in one third of it."""
    for _ in range(_TRIES):
        coordinate = _within(chance, half)
        if coordinate is not None:
            return coordinate
    return 0.5
