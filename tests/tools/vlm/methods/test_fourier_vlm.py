"""Fourier-VLM: the transform by its definition, and which patches each new token stands for."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.vlm.conftest import LoadHost, make_frames
from tests.tools.vlm.methods.scored import random
from tools.errors import BadInput
from tools.vlm.compression import Compression, make_method
from tools.vlm.context import Context
from tools.vlm.host import Host
from tools.vlm.methods.fourier_vlm import FourierVLM
from tools.vlm.primitives.frequency import lowpass, resize
from tools.vlm.signals import Signal
from tools.vlm.tokens import Grid, VisualTokens

law = settings(max_examples=30)
sides = st.integers(1, 6)


def direct(picture: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Frequency by frequency, place by place, as the transform is defined."""
    rows, columns = len(picture), len(picture[0])

    def wave(frequency: int, place: int, size: int) -> float:
        norm = math.sqrt((1 if frequency == 0 else 2) / size)
        return norm * math.cos(math.pi * (2 * place + 1) * frequency / (2 * size))

    spectrum = [
        [
            sum(picture[y][x] * wave(u, y, rows) * wave(v, x, columns) for y in range(rows) for x in range(columns))
            for v in range(width)
        ]
        for u in range(height)
    ]
    return [
        [
            sum(spectrum[u][v] * wave(u, y, height) * wave(v, x, width) for u in range(height) for v in range(width))
            for x in range(width)
        ]
        for y in range(height)
    ]


@law
@given(sides, sides, st.integers(0, 9999), st.data())
def test_resizing_is_the_cut_transform(rows: int, columns: int, seed: int, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    maps = random(seed, 2, rows, columns, 3)
    found = resize(maps, height, width)
    for at in range(2):
        for channel in range(3):
            expected = torch.tensor(direct(maps[at, :, :, channel].tolist(), height, width))
            torch.testing.assert_close(found[at, :, :, channel], expected, atol=1e-5, rtol=1e-5)
    assert float(found.square().sum()) <= float(maps.square().sum()) * (1 + 1e-5)


def test_rows_are_orthonormal_and_all_frequencies_are_the_picture() -> None:
    matrix = lowpass(24, 12)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(12), atol=1e-6, rtol=0)
    maps = random(1, 9, 14, 5)
    torch.testing.assert_close(resize(maps, 9, 14), maps, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(resize(torch.ones(24, 24, 1), 12, 12), torch.full((12, 12, 1), 2.0))


def test_a_constant_picture_keeps_its_value_or_gains_as_published() -> None:
    tokens = VisualTokens.full(torch.full((576, 4), 3.0), (Grid(24, 24),))
    assert len(FourierVLM().compress(tokens, 0.5)) == 144
    torch.testing.assert_close(FourierVLM().compress(tokens, 0.5).features, torch.full((144, 4), 3.0))
    torch.testing.assert_close(FourierVLM(rescale=False).compress(tokens, 0.5).features, torch.full((144, 4), 6.0))


@law
@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=4), st.floats(0.1, 1), st.integers(0, 999))
def test_tokens_own_the_rectangles_of_their_pictures(shapes: list[tuple[int, int]], axis: float, seed: int) -> None:
    grids = tuple(Grid(height, width, float(t)) for t, (height, width) in enumerate(shapes))
    cells = sum(grid.cells for grid in grids)
    features, extra, signal = random(seed, cells, 3), random(seed + 1, cells, 3), Signal("received")
    tokens = VisualTokens.full(features, grids, {signal: torch.arange(cells).float()}, (extra,))
    found = FourierVLM().compress(tokens, axis).check()
    assert bool((found.owner >= 0).all())
    start = place = 0
    for grid in grids:
        height, width = max(1, int(grid.height * axis + 1e-9)), max(1, int(grid.width * axis + 1e-9))
        for i in range(grid.cells):
            y, x = divmod(i, grid.width)
            mine = place + (y * height // grid.height) * width + x * width // grid.width
            assert int(found.owner[start + i]) == mine
        part = slice(place, place + height * width)
        for before, after in ((features, found.features), (extra, found.extras[0])):
            picture = before[start : start + grid.cells].view(grid.height, grid.width, 3)
            scale = math.sqrt(height * width / grid.cells)
            torch.testing.assert_close(
                after[part], resize(picture, height, width).flatten(0, 1) * scale, atol=1e-5, rtol=1e-4
            )
        start, place = start + grid.cells, place + height * width
    assert len(found) == place
    for at in range(len(found)):
        owned = torch.nonzero(found.owner == at)[:, 0]
        assert float(found.signals[signal][at]) == pytest.approx(float(owned.float().mean()), abs=1e-3)


@torch.inference_mode()
def test_it_stands_before_a_plain_projector_and_behind_any_other_connector(host: Host) -> None:
    frames = make_frames(2)
    context = Context(host, frames, "What?")
    context.enter(frames, host.prepare(frames, "What?", "video"))
    inputs = context.inputs
    method = FourierVLM(axis=0.5)
    behind = method.compress(host.connect(host.encode(inputs), inputs), 0.5)
    found = method.connect(host.encode(inputs), inputs, context)
    assert len(found) == len(behind)
    assert torch.equal(found.owner, behind.owner)
    before = host.name == "llava"
    assert torch.allclose(found.features, behind.features) != before
    if before:
        small = method.compress(host.encode(inputs), 0.5)
        torch.testing.assert_close(found.features, host.connect(small, inputs).features)
        # 7 x 7 patches at the paper's half.
        assert len(FourierVLM().connect(host.encode(inputs), inputs, context)) == 2 * 3 * 3


def test_what_cannot_be_is_refused(tiny: LoadHost) -> None:
    for axis in ("0", "1.5"):
        with pytest.raises(BadInput) as caught:
            make_method("fourier_vlm", {"axis": axis})
        assert caught.value.field == "axis"
    with pytest.raises(BadInput, match="needs all patches") as caught:
        Compression((FourierVLM(place="projector"),)).check(tiny("llava_onevision"))
    assert caught.value.field == "place"
    Compression((FourierVLM(place="projector"),)).check(tiny("llava"))
