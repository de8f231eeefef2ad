"""What every OCR backend obeys, found by the registry."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tools.errors import ProfileError
from tools.media.frames import Frames
from tools.ocr import BACKENDS, OcrBackend
from tools.ocr.tool import OcrTool

#: Backends whose weights are in their wheels, and which must therefore read.
READERS = ("rapidocr",)
TEXT = [(30, 30, "Station 7 opens at noon"), (30, 120, "Doctor Maria Lopez"), (340, 220, "Platform B")]


@pytest.fixture(scope="module", params=BACKENDS.names())
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def backend(name: str, request: pytest.FixtureRequest) -> OcrBackend:
    if name == "easyocr":
        with pytest.MonkeyPatch.context() as patch:
            folder: Path = request.getfixturevalue("easyocr_weights")
            request.getfixturevalue("trust")(patch, folder)
            return BACKENDS.create(name, {"model_directory": str(folder), "min_score": 0.99})
    try:
        return BACKENDS.create(name)
    except ProfileError as error:
        pytest.skip(str(error))


def test_a_blank_picture_has_no_lines(backend: OcrBackend) -> None:
    for shade in (0, 128, 255):
        assert backend.read(np.full((90, 160, 3), shade, np.uint8)) == []


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (1, 1), (3, 200), (101, 77)])
def test_any_size_is_taken(backend: OcrBackend, size: tuple[int, int]) -> None:
    chance = np.random.default_rng(1)
    for line in backend.read(chance.integers(0, 255, (*size, 3), dtype=np.uint8)):
        assert 0 <= line.score <= 1


def test_the_same_picture_gives_the_same_lines_inside_it(backend: OcrBackend, draw_text) -> None:
    picture = draw_text(TEXT)
    before = picture.copy()
    lines = backend.read(picture)
    assert backend.read(picture) == lines
    assert np.array_equal(picture, before)
    for line in lines:
        assert line.text == line.text.strip() != ""
        assert 0 <= line.score <= 1
        assert 0 <= line.region.x0 < line.region.x1 <= 1
        assert 0 <= line.region.y0 < line.region.y1 <= 1


def test_calls_at_once_equal_calls_in_turn(backend: OcrBackend, draw_text) -> None:
    pictures = [draw_text([(10, 10, f"Page {i}")], size=(160 + 32 * i, 64)) for i in range(4)]
    one_by_one = [backend.read(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(backend.read, pictures * 2)) == one_by_one * 2
    frames = Frames(np.arange(3.0), np.stack([pictures[0]] * 3))
    assert OcrTool(backend, workers=3).read(frames) == [one_by_one[0]] * 3


def test_views_of_an_array_are_read_like_copies(backend: OcrBackend, draw_text) -> None:
    picture = draw_text([(10, 10, "Gate 12")], size=(200, 80))
    assert backend.read(np.asfortranarray(picture)) == backend.read(picture)


@pytest.mark.parametrize("reader", READERS)
def test_lines_are_read_in_order_at_their_places(reader: str, draw_text) -> None:
    backend = BACKENDS.create(reader)
    lines = backend.read(draw_text([*TEXT, (30, 220, "Left column")]))
    assert [line.text for line in lines] == [
        "Station 7 opens at noon",
        "Doctor Maria Lopez",
        "Left column",
        "Platform B",
    ]
    for line, (x, y) in zip(lines, [(30, 30), (30, 120), (30, 220), (340, 220)], strict=True):
        assert line.region.x0 == pytest.approx(x / 640, abs=0.02)
        assert line.region.y0 == pytest.approx(y / 360, abs=0.03)


@pytest.mark.parametrize("reader", READERS)
def test_zooming_reads_what_is_too_small_from_afar(reader: str, draw_text) -> None:
    backend = BACKENDS.create(reader)
    near = draw_text([(900, 600, "Serial number 4481")], size=(1280, 720), font=13)
    far = near.reshape(180, 4, 320, 4, 3).mean((1, 3)).astype(np.uint8)
    crop = np.ascontiguousarray(near[540:720, 860:1180])
    assert "Serial number 4481" not in [line.text for line in backend.read(far)]
    assert [line.text for line in backend.read(crop)] == ["Serial number 4481"]
