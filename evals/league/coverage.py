"""What a look's tokens were spent on: how many of the things shown it still saw, and how much of it went to things."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.vlm.report import Provenance
from tools.vlm.tokens import Grid

Ints = npt.NDArray[np.int64]

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


def coverage(provenance: Provenance, things: Ints, times: npt.NDArray[np.float64]) -> Coverage | None:
    """Compares what became of every patch with what the patches show.

    Args:
        things: ``[T, H, W]``, which thing each patch of each frame shows, 0 for none; what is seen in several frames
            counts in each.
        times: seconds ``[T]`` of the frames, by which they find their grids.

    Returns:
        None where nothing is shown or nothing was kept.
    """
    layers, work = provenance.layers(), provenance.maps()
    shown = shows(provenance.grids, things, times)
    found: list[bool] = []
    for frame, (place, rows, columns) in zip(things, _cells(provenance.grids, things, times), strict=True):
        seen = layers[place][np.ix_(rows, columns)] >= _SEEN
        found += [bool(seen[frame == thing].any()) for thing in np.unique(frame[frame > 0])]
    total = sum(float(one.sum()) for one in work)
    if not found or total == 0:
        return None
    spent = sum(float(one[where].sum()) for one, where in zip(work, shown, strict=True))
    return Coverage(float(np.mean(found)), spent / total)


def shows(grids: Sequence[Grid], things: Ints, times: npt.NDArray[np.float64]) -> list[npt.NDArray[np.bool_]]:
    """For each grid bool ``[h, w]``, whether a cell shows something; arguments as in `coverage`."""
    shown = [np.zeros((grid.height, grid.width), dtype=np.bool_) for grid in grids]
    for frame, (place, rows, columns) in zip(things, _cells(grids, things, times), strict=True):
        there = np.nonzero(frame)
        shown[place][rows[there[0]], columns[there[1]]] = True
    return shown


def _cells(grids: Sequence[Grid], things: Ints, times: npt.NDArray[np.float64]) -> Iterator[tuple[int, Ints, Ints]]:
    """For each frame its grid, the nearest in time, and the row and the column of that for its own."""
    for frame, time in zip(things, times, strict=True):
        place = int(np.argmin([abs(grid.time - time) for grid in grids]))
        rows = np.arange(frame.shape[0]) * grids[place].height // frame.shape[0]
        columns = np.arange(frame.shape[1]) * grids[place].width // frame.shape[1]
        yield place, rows, columns
