"""The colour of a thing in one word."""

import cv2
import numpy as np
import numpy.typing as npt

#: Words for the hues of OpenCV's half-degree circle: each up to and without its bound, red also from the last one on.
_HUES = ((8, "red"), (22, "orange"), (34, "yellow"), (80, "green"), (98, "cyan"), (128, "blue"), (150, "purple"))
_PINK_UNTIL, _RED_FROM = 172, 172
#: Value below which a pixel is black, and saturation below which it has no hue (of 255).
_BLACK, _GREYISH = 45, 45
#: Value from which a pixel without hue is white.
_WHITE = 190
#: Orange and red that are dark and not vivid are brown.
_BROWN_VALUE = 160
#: Red that is bright and pale is pink.
_PINK_SATURATION, _PINK_VALUE = 150, 190
#: Share of the pixels that the commonest colour needs to be told.
_MAJORITY = 0.5

COLOURS = ("black", "blue", "brown", "cyan", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow")


def dominant_colour(pixels: npt.NDArray[np.uint8]) -> str | None:
    """The colour word of at least half of ``pixels`` (uint8 ``[N, 3]`` RGB), or None where there is no such colour."""
    if len(pixels) == 0:
        return None
    words = _words(pixels)
    names, counts = np.unique(words, return_counts=True)
    top = int(counts.argmax())
    return str(names[top]) if counts[top] >= _MAJORITY * len(pixels) else None


def _words(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.str_]:
    hsv = cv2.cvtColor(pixels.reshape(1, -1, 3), cv2.COLOR_RGB2HSV)[0].astype(np.int64)
    hue, saturation, value = hsv[:, 0], hsv[:, 1], hsv[:, 2]
    bounds = [bound for bound, _ in _HUES] + [_RED_FROM]
    names = np.array([name for _, name in _HUES] + ["pink", "red"], dtype="<U8")
    words: npt.NDArray[np.str_] = names[np.searchsorted(bounds, hue, side="right")]
    warm = (hue < 18) | (hue >= _RED_FROM)
    words[(words == "red") & (saturation < _PINK_SATURATION) & (value >= _PINK_VALUE)] = "pink"
    words[(hue >= 4) & warm & (hue < 18) & (value < _BROWN_VALUE)] = "brown"
    pale = saturation < _GREYISH
    words[pale] = "grey"
    words[pale & (value >= _WHITE)] = "white"
    words[value < _BLACK] = "black"
    return words
