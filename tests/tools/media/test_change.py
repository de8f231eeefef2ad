"""Changes are local and robust; cuts stand out from what is usual."""

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tools.media.change import CHANGED, ChangeMeter, CutDetector, Miniatures, layout_distance, local_change

Picture = npt.NDArray[np.uint8]


def frame(picture: Picture) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format="yuv420p")


@pytest.fixture
def scene() -> Picture:
    small = np.random.default_rng(3).integers(40, 200, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (1280, 720), interpolation=cv2.INTER_CUBIC)


def change(a: Picture, b: Picture) -> float:
    tiny = Miniatures()
    return local_change(tiny.luma(frame(a)), tiny.luma(frame(b)))


def test_noise_and_compression_are_no_change(scene: Picture) -> None:
    noise = np.random.default_rng(4).normal(0, 12, scene.shape)
    noisy = np.clip(scene + noise, 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 25]
    coded = cv2.imdecode(cv2.imencode(".jpg", scene, quality)[1], cv2.IMREAD_COLOR)
    brighter = np.clip(scene.astype(int) + 4, 0, 255).astype(np.uint8)
    assert change(scene, scene) == 0
    for same in (noisy, coded, brighter):
        assert change(scene, same) < CHANGED / 2


@pytest.mark.parametrize("where", [(40, 680), (900, 60), (600, 400)])
@pytest.mark.parametrize("size", [0.8, 2.0])
def test_a_short_caption_is_a_change_wherever_it_stands(scene: Picture, where: tuple[int, int], size: float) -> None:
    captioned = cv2.putText(
        scene.copy(), "Dr. Ada Reyes", where, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), round(3 * size)
    )
    assert change(scene, captioned) >= CHANGED
    assert np.abs(captioned.astype(int) - scene).mean() < 3, "a mean over the picture would not see it"


def test_change_is_against_the_last_that_was_new(scene: Picture) -> None:
    tiny, meter = Miniatures(), ChangeMeter()
    assert meter.change(tiny.luma(frame(scene)))[0] == 1
    # Each step is too small to be new, their sum is not.
    changes = [
        meter.change(tiny.luma(frame(np.clip(scene.astype(int) + 5 * step, 0, 255).astype(np.uint8))))[0]
        for step in range(1, 5)
    ]
    assert changes[0] < CHANGED
    assert changes == sorted(changes)[: len(changes)] or max(changes) >= CHANGED
    assert max(changes) >= CHANGED


def test_size_and_depth_do_not_matter(scene: Picture) -> None:
    tiny = Miniatures()
    small = cv2.resize(scene, (426, 240), interpolation=cv2.INTER_AREA)
    deep = frame(scene).reformat(format="yuv420p10le")
    assert local_change(tiny.luma(frame(scene)), tiny.luma(frame(small))) < CHANGED
    assert layout_distance(tiny.layout(frame(scene)), tiny.layout(frame(small))) < 0.02
    assert local_change(tiny.luma(frame(scene)), tiny.luma(deep)) < CHANGED


def _layouts(distances: list[float]) -> list[npt.NDArray[np.float32]]:
    # Going up and down in grey, neighbours at the wanted distances.
    level, up, found = 0.0, True, []
    for distance in distances:
        level += distance if up else -distance
        up = not up
        found.append(np.full((9, 16, 3), level * 255, dtype=np.float32))
    return found


def test_a_jump_against_quiet_neighbours_is_a_cut() -> None:
    detector = CutDetector()
    cuts = [detector.is_cut(layout) for layout in _layouts([0, 0.01, 0.01, 0.01, 0.3, 0.01, 0.02, 0.2, 0.01])]
    assert [i for i, cut in enumerate(cuts) if cut] == [0, 4, 7]


def test_steady_motion_is_no_row_of_cuts() -> None:
    detector = CutDetector()
    cuts = [detector.is_cut(layout) for layout in _layouts([0, *[0.09] * 12, 0.5, *[0.09] * 5])]
    assert [i for i, cut in enumerate(cuts) if cut] == [0, 13]
