"""What a look's tokens were spent on: how many of the things shown it still saw, and how much of it went to things."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.vlm.report import Provenance

#: A patch is seen if its token goes through this part of the decoder's layers.
_SEEN = 0.5


@dataclass(frozen=True)
class Coverage:
    """Attributes:
    things: of the things shown, the part with a patch that is seen, 0..1.
    spent: of the work on visual tokens, the part on tokens whose patches show things, 0..1.
    """

    things: float
    spent: float


def coverage(provenance: Provenance, things: npt.NDArray[np.int64], times: npt.NDArray[np.float64]) -> Coverage | None:
    """Compares what became of every patch with what the patches show.

    Args:
        things: ``[T, H, W]``, which thing each patch of each frame shows, 0 for none; what is seen in several frames
            counts in each.
        times: seconds ``[T]`` of the frames, by which they find their grids.

    Returns:
        None where nothing is shown or nothing was kept.
    """
    grids = provenance.grids
    layers, work = provenance.layers(), provenance.maps()
    shown = [np.zeros((grid.height, grid.width), dtype=np.bool_) for grid in grids]
    found: list[bool] = []
    for frame, time in zip(things, times, strict=True):
        place = int(np.argmin([abs(grid.time - time) for grid in grids]))
        rows = np.arange(frame.shape[0]) * grids[place].height // frame.shape[0]
        columns = np.arange(frame.shape[1]) * grids[place].width // frame.shape[1]
        seen = layers[place][np.ix_(rows, columns)] >= _SEEN
        for thing in np.unique(frame[frame > 0]):
            found.append(bool(seen[frame == thing].any()))
        there = np.nonzero(frame)
        shown[place][rows[there[0]], columns[there[1]]] = True
    total = sum(float(one.sum()) for one in work)
    if not found or total == 0:
        return None
    spent = sum(float(one[where].sum()) for one, where in zip(work, shown, strict=True))
    return Coverage(float(np.mean(found)), spent / total)
