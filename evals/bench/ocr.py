"""OCR: milliseconds a frame and character error rate, by backend, picture size and height of the letters."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from tools.errors import ProfileError
from tools.ocr import BACKENDS, OcrBackend

#: Short sides of the pictures, in pixels; all are scaled from one drawing of 1280 x 720.
SHORT_SIDES = (240, 360, 480, 720)
#: Heights of the letters in the drawing, in pixels.
LETTERS = (14, 18, 24, 36, 60)
#: Runs of which the fastest counts.
_RUNS = 2
_SIZE = (1280, 720)
_LINES = ("Quarterly Review", "Revenue grew 18% in Europe", "OPEN 24 HOURS", "THE LAZY DOG SLEEPS", "Dr. Maria Lopez")


@dataclass(frozen=True)
class _Drawing:
    image: Image.Image
    lines: tuple[str, ...]


def run(out_dir: Path) -> list[dict[str, Any]]:
    """Measures every backend whose weights are on this machine and writes ``ocr.json``.

    Returns:
        A row a backend, picture size and letter height: ``backend``, ``model``, ``short_side``, ``letters``,
        ``ms_per_frame``, ``character_error_rate`` (edits over true characters, spaces and line ends included); for a
        backend without weights one row with ``skipped``, the reason.
    """
    rows: list[dict[str, Any]] = []
    for name in BACKENDS:
        try:
            backend = BACKENDS.create(name)
        except ProfileError as error:
            rows.append({"backend": name, "skipped": str(error)})
            continue
        rows += [{"backend": name, "model": backend.model, **row} for row in _measure(backend)]
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "ocr.json").write_text(json.dumps(rows, indent=1))
    return rows


def _measure(backend: OcrBackend) -> Iterator[dict[str, Any]]:
    # The first call pays for what the libraries set up lazily.
    backend.read(np.zeros((64, 64, 3), np.uint8))
    for short_side in SHORT_SIDES:
        for letters in LETTERS:
            seconds, edits, characters = 0.0, 0, 0
            drawings = (_slide(letters), _caption(letters))
            for drawing in drawings:
                picture = _scaled(drawing.image, short_side)
                fastest = float("inf")
                for _ in range(_RUNS):
                    start = time.perf_counter()
                    lines = backend.read(picture)
                    fastest = min(fastest, time.perf_counter() - start)
                seconds += fastest
                truth = "\n".join(drawing.lines)
                edits += edit_distance(truth, "\n".join(line.text for line in lines))
                characters += len(truth)
            yield {
                "short_side": short_side,
                "letters": letters,
                "ms_per_frame": round(1000 * seconds / len(drawings), 1),
                "character_error_rate": round(edits / characters, 4),
            }


def _slide(letters: int) -> _Drawing:
    """Dark lines on a light page."""
    image = Image.new("RGB", _SIZE, (244, 244, 238))
    _write(image, _LINES, letters, (80, 50), (25, 28, 36))
    return _Drawing(image, _LINES)


def _caption(letters: int) -> _Drawing:
    """Light lines on a dark bar over a blurred picture."""
    coarse = np.random.default_rng(0).integers(0, 255, (9, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(_SIZE, Image.Resampling.BICUBIC)
    top = 690 - 4 * letters
    ImageDraw.Draw(image).rectangle((60, top, 1100, 705), fill=(18, 22, 34))
    lines = ("Dr. Maria Lopez", "Head of Research, Station 7")
    _write(image, lines, letters, (80, top + letters // 4), (250, 250, 250))
    return _Drawing(image, lines)


def _write(
    image: Image.Image, lines: tuple[str, ...], letters: int, corner: tuple[int, int], ink: tuple[int, int, int]
) -> None:
    font = ImageFont.load_default(letters)
    for i, line in enumerate(lines):
        ImageDraw.Draw(image).text((corner[0], corner[1] + round(1.8 * letters) * i), line, font=font, fill=ink)


def _scaled(image: Image.Image, short_side: int) -> npt.NDArray[np.uint8]:
    width = round(image.width * short_side / image.height)
    return np.asarray(image.resize((width, short_side), Image.Resampling.LANCZOS))


def edit_distance(first: str, second: str) -> int:
    """Fewest insertions, deletions and substitutions of characters that make ``first`` into ``second``."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        above, row = row, [i]
        for j, b in enumerate(second, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]
