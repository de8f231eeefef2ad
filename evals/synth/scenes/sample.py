"""One sample: frames, what is asked about them, and what lies in every patch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

#: Pixels along a picture and along a patch of it.
SIDE = 112
PATCH = 14
#: Frames of a clip.
CLIP_FRAMES = 8

Scale = Literal["near", "far"]


@dataclass(frozen=True)
class Turn:
    """One question about a sample.

    Attributes:
        answer: short and canonical; one of the options where there are any.
        family: what is asked about, e.g. "colour" or "order".
        options: of a multiple-choice question, which names them itself.
        forgiven: answers besides ``answer`` that who learns should not learn to be wrong: those that no sample of the
            split can have, since it keeps some pairs of colour and shape for others; and where what is asked has no
            name, all others that might be said.
        new: whether it is about a thing whose colour and shape never come together in training, as far as that is told.
    """

    question: str
    answer: str
    family: str
    options: tuple[str, ...] = ()
    scale: Scale = "near"
    forgiven: tuple[str, ...] = ()
    new: bool = False


@dataclass(frozen=True)
class Sample:
    """A picture or a clip.

    Attributes:
        frames: RGB ``[T, SIDE, SIDE, 3]``; one for a picture, `CLIP_FRAMES` for a clip.
        times: seconds ``[T]``.
        caption: one sentence that lists what the first frame shows in raster order, then what happens.
        lessons: turns that only teach, with long answers: what is so in every frame, or of every thing.
        colour, shape, glyph, character: classes ``[T, 8, 8]`` of what covers most of each patch besides the background,
            which is 0 and has a patch only where nothing covers a tenth of it.
        courses: classes ``[T, 8, 8]`` of what has become of that since the first frame, see `COURSES`; of near clips.
    """

    frames: npt.NDArray[np.uint8]
    times: npt.NDArray[np.float64]
    caption: str
    turns: tuple[Turn, ...]
    colour: npt.NDArray[np.int64]
    shape: npt.NDArray[np.int64]
    glyph: npt.NDArray[np.int64]
    character: npt.NDArray[np.int64]
    lessons: tuple[Turn, ...] = ()
    courses: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
