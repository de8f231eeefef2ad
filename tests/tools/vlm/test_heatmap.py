"""Heat maps say what happened to every patch, and are drawn where the patch is."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tests.tools.vlm.conftest import LoadHost, make_frames
from tools.evidence import HeatMap, SeenFrame
from tools.media.frames import Frames
from tools.media.view import Region
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine
from tools.vlm.heatmap import VEIL, Shares, decode, encode, heat_maps, overlay, sheet
from tools.vlm.host import Host
from tools.vlm.tool import VlmTool

GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9))


def heat(layers: object, mass: object, token: object = None, **more: object) -> HeatMap:
    mass = np.asarray(mass)
    token = np.arange(mass.size).reshape(mass.shape) if token is None else np.asarray(token)
    return HeatMap.model_validate({"time": 1.0, "png": encode(np.asarray(layers), mass, token), **more})


def frame(image: Image.Image, time: float = 1.0) -> SeenFrame:
    file = io.BytesIO()
    image.save(file, "PNG")
    return SeenFrame(time=time, jpeg=file.getvalue())


@given(GRIDS.flatmap(lambda shape: arrays.arrays(np.int64, (2, *shape), elements=st.integers(0, 15))))
def test_the_png_holds_what_it_was_made_of(numbers: np.ndarray) -> None:
    mass, layers = numbers[0], np.where(numbers[0] > 0, numbers[1] / 15, 0)
    token = np.where(mass > 0, np.arange(mass.size).reshape(mass.shape), -1)
    png = encode(layers, mass, token)
    assert png == encode(layers, mass, token)
    found_layers, found_mass, found_token = decode(png)
    np.testing.assert_allclose(found_layers, layers, atol=0.5 / 255 + 1e-9)
    np.testing.assert_array_equal(found_mass, mass)
    assert ((found_token > 0) == (mass > 1)).all()
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert pixels.shape == (*mass.shape, 3)
    assert (pixels[mass == 0] == 0).all()


def test_a_token_of_very_many_patches_is_not_taken_for_a_dropped_one() -> None:
    one = heat(np.ones((2, 2)), np.full((2, 2), 100_000), np.zeros((2, 2), int))
    assert Shares.of([one]) == Shares(kept=0, merged=4, left=0, dropped=0)


def test_shares_are_counted_over_all_pictures() -> None:
    first = heat([[1, 1], [0.5, 0]], [[1, 2], [1, 0]])
    second = heat([[0, 1]], [[3, 3]], [[0, 0]])
    assert Shares.of([first, second]) == Shares(kept=1, merged=2, left=1, dropped=2)
    assert Shares.of([]).cells == 0


def test_every_cell_is_drawn_as_what_became_of_it() -> None:
    picture = Image.fromarray(np.full((80, 120, 3), (200, 60, 40), np.uint8))
    one = heat([[1, 1, 0.5, 0]], [[1, 4, 1, 0]], region=Region(x0=0, y0=0.25, x1=1, y1=0.75))
    pixels = np.asarray(overlay(picture, one)).astype(int)
    kept, merged, left, dropped, outside = (pixels[y, x] for y, x in ((40, 10), (40, 45), (40, 75), (40, 110), (5, 60)))
    assert kept.tolist() == [200, 60, 40]
    assert merged[2] > kept[2] + 40
    assert merged[0] < kept[0] - 40
    assert left[1] > kept[1] + 10
    assert np.ptp(dropped - np.array(VEIL)) == 0
    assert outside.sum() < dropped.sum()
    assert (pixels[20, 10] > pixels[40, 10]).any(), "the lattice has an edge"


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_page_holds_every_picture(count: int) -> None:
    rng = np.random.default_rng(count)
    frames = [frame(Image.fromarray(rng.integers(0, 255, (36, 64, 3), dtype=np.uint8)), i / 2) for i in range(count)]
    maps = [heat(np.ones((3, 3)), np.ones((3, 3)), time=i / 2) for i in range(count + 1)]
    page = sheet(frames, maps, title="What \x1b[31mis\n it? " + "word " * 200, lines=["a line", ""])
    assert page.width >= 738
    assert page.width * page.height < 5_000_000
    colours = np.asarray(page).astype(int) @ (1, 256, 65536)
    # Noise has many colours, the page around it few.
    assert (len(np.unique(colours)) > 2_000) == (count > 0)


def test_a_still_in_two_parts_and_pictures_of_odd_shapes() -> None:
    tall = frame(Image.new("RGB", (20, 100), (255, 255, 255)))
    parts = [heat([[1.0]], [[1]], part="base"), heat([[0.0, 1.0]], [[0, 1]], part="mosaic")]
    page = sheet([tall], parts)
    assert page.height > 5 * 360


def test_the_report_of_a_look_becomes_heat_maps(checkpoint: object) -> None:
    assert callable(checkpoint)
    tool = VlmTool("llava_onevision", str(checkpoint("llava_onevision")), max_new_tokens=2)
    frames = make_frames(4)
    for method, kind, count in (
        ("none", "kept", 64),
        ("uniform_stride:tokens=16", "kept", 16),
        ("average_pooling:tokens=8", "merged", 64),
        ("fastv:tokens=9,layer=2", "left", 55),
    ):
        found = heat_maps(tool.look(frames, "What is red?", method).report)
        assert [one.time for one in found] == frames.times.tolist()
        shares = Shares.of(found)
        assert shares.cells == 64
        assert getattr(shares, kind) == count
    groups = {int(number) for one in found for number in np.unique(decode(one.png)[2])}
    assert groups == {0}
    merged = heat_maps(tool.look(frames, "What is red?", "average_pooling:tokens=8").report)
    assert all(len(np.unique(decode(one.png)[2])) == 2 for one in merged), "two tokens a picture"
    assert heat_maps({}) == ()


def test_the_lattice_lies_on_what_the_tower_sees(host: Host) -> None:
    """Noise outside the lattice changes no pixel of the tower's input; noise inside does."""
    frames = make_frames(2)
    height, width = frames.images.shape[1:3]
    field = host.field(height, width)
    if field is None:
        field = (0.0, 0.0, 1.0, 1.0)
    else:
        assert host.name == "llava"
    x0, y0, x1, y1 = (round(side * size) for side, size in zip(field, (width, height) * 2, strict=True))
    pixels = host.prepare(frames, "What?", "video").pixels
    # A margin for the interpolation at the edge.
    margin = 6 if (x0, y0, x1, y1) != (0, 0, width, height) else 0
    noisy = frames.images.copy()
    mask = np.ones((height, width), bool)
    mask[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin] = False
    noisy[:, mask] = 255 - noisy[:, mask]
    assert (host.prepare(Frames(frames.times, noisy), "What?", "video").pixels == pixels).all()
    for y, x in ((y0 + 3, x0 + 3), (y1 - 4, x1 - 4)):
        changed = frames.images.copy()
        changed[:, y - 2 : y + 3, x - 2 : x + 3] = 255 - changed[:, y - 2 : y + 3, x - 2 : x + 3]
        assert (host.prepare(Frames(frames.times, changed), "What?", "video").pixels != pixels).any()


def test_frames_that_cannot_be_written_to_are_looked_at_without_a_word(tiny: LoadHost) -> None:
    frames = make_frames(2)
    frames.images.setflags(write=False)
    assert Engine(tiny("qwen3_vl")).look(frames, "What?", Compression.NONE, max_new_tokens=1).text is not None
