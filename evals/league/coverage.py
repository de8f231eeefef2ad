"""What a look's tokens were spent on: how many of the things shown it still saw, and how much of it went to things."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.vlm.report import Provenance
from tools.vlm.tokens import Grid

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: A patch is seen if its token goes through this part of the decoder's layers.
_SEEN = 0.5


@dataclass(frozen=True)
class Coverage:
    """What the tokens of a look saw and were spent on.

    Attributes:
        things: of the things shown, the part with a patch that is seen, 0..1.
        spent: of the work on visual tokens, the part on tokens whose patches show things, 0..1.
    """

    things: float
    spent: float


@dataclass(frozen=True)
class Legible:
    """How much of what is written was seen, 0..1.

    Attributes:
        each: of the patches that show a part of a letter or digit.
        once: of the places that show one in some frame, the part where one is seen in some frame.
    """

    each: float
    once: float


def coverage(provenance: Provenance, things: Ints, times: npt.NDArray[np.float64]) -> Coverage | None:
    """Compares what became of every patch with what the patches show.

    Args:
        things: ``[T, H, W]``, which thing each patch of each frame shows, 0 for none; what is seen in several frames
            counts in each.
        times: seconds ``[T]`` of the frames, by which they find their grids.

    Returns:
        None where nothing is shown or nothing was kept.
    """
    work, shown = provenance.maps(), shows(provenance.grids, things, times)
    found = [
        bool(seen[frame == thing].any())
        for frame, seen in zip(things, _seen(provenance, things, times), strict=True)
        for thing in np.unique(frame[frame > 0])
    ]
    total = sum(float(one.sum()) for one in work)
    if not found or total == 0:
        return None
    spent = sum(float(one[where].sum()) for one, where in zip(work, shown, strict=True))
    return Coverage(float(np.mean(found)), spent / total)


def legible(provenance: Provenance, written: Bools, times: npt.NDArray[np.float64]) -> Legible | None:
    """Compares what became of every patch with what is written.

    Args:
        written: ``[T, H, W]``, whether a patch of a frame shows a part of a letter or digit.
        times: as in `coverage`.

    Returns:
        None where nothing is written.
    """
    if not written.any():
        return None
    seen = _seen(provenance, written, times) & written
    return Legible(float(seen.sum() / written.sum()), float(seen.any(axis=0).sum() / written.any(axis=0).sum()))


def _seen(provenance: Provenance, labels: Ints | Bools, times: npt.NDArray[np.float64]) -> Bools:
    """``[T, H, W]``, whether the patch under each of the labels is seen."""
    layers = provenance.layers()
    cells = _cells(provenance.grids, labels, times)
    return np.stack([layers[place][np.ix_(rows, columns)] >= _SEEN for place, rows, columns in cells])


def shows(grids: Sequence[Grid], things: Ints, times: npt.NDArray[np.float64]) -> list[Bools]:
    """For each grid bool ``[h, w]``, whether a cell shows something; arguments as in `coverage`."""
    shown = [np.zeros((grid.height, grid.width), dtype=np.bool_) for grid in grids]
    for frame, (place, rows, columns) in zip(things, _cells(grids, things, times), strict=True):
        there = np.nonzero(frame)
        shown[place][rows[there[0]], columns[there[1]]] = True
    return shown


def _cells(
    grids: Sequence[Grid], labels: Ints | Bools, times: npt.NDArray[np.float64]
) -> Iterator[tuple[int, Ints, Ints]]:
    """For each frame its grid, the nearest in time, and the row and the column of that for its own."""
    for frame, time in zip(labels, times, strict=True):
        place = int(np.argmin([abs(grid.time - time) for grid in grids]))
        rows = np.arange(frame.shape[0]) * grids[place].height // frame.shape[0]
        columns = np.arange(frame.shape[1]) * grids[place].width // frame.shape[1]
        yield place, rows, columns
