"""What all OCR backends do with the lines that they read: reading order, clean text, boxes in fractions."""

import unicodedata
from collections.abc import Iterable, Sequence

from tools.media.view import Region
from tools.ocr import TextLine

#: Share of the lower line's height that two lines must have in common to stand in one row.
_ROW_OVERLAP = 0.5


def reading_order(lines: Iterable[TextLine]) -> list[TextLine]:
    """Lines row by row from the top, each row from the left; the order in which they are given does not matter.

    A row is opened by its highest line, and lines join it that share half of the lower one's height with it. Columns
    side by side are read across.
    """
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda one: (one.region.y0, one.region.x0, one.region.y1, one.region.x1, one.text)):
        if rows and _same_row(rows[-1][0].region, line.region):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda one: (one.region.x0, one.region.y0, one.text))]


def _same_row(first: Region, second: Region) -> bool:
    shared = min(first.y1, second.y1) - max(first.y0, second.y0)
    return shared >= _ROW_OVERLAP * min(first.y1 - first.y0, second.y1 - second.y0)


def clean(text: str) -> str:
    """Single spaces, no control characters; full-width Latin becomes ordinary where the line holds no ideographs.

    Empty when no letter or digit is left: what recognisers see in textures are mostly lone marks.
    """
    if not any("\u3040" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3" for char in text):
        text = "".join(unicodedata.normalize("NFKC", c) if "\uff01" <= c <= "\uff5e" else c for c in text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if any(char.isalnum() for char in text) else ""


def box_region(points: Sequence[Sequence[float]], width: int, height: int) -> Region | None:
    """Upright hull of ``points`` (pixels, x then y) in fractions of a picture; None when nothing of it is inside."""
    xs = [min(max(float(x), 0.0), width) for x, _ in points]
    ys = [min(max(float(y), 0.0), height) for _, y in points]
    if max(xs) <= min(xs) or max(ys) <= min(ys):
        return None
    return Region.of(min(xs) / width, min(ys) / height, max(xs) / width, max(ys) / height)
