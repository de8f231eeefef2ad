"""The open-vocabulary detector on random checkpoints of the real classes."""

from pathlib import Path

import numpy as np
import pytest

from tools.detect import BACKENDS
from tools.errors import ProfileError
from tools.media.frames import Frames


@pytest.fixture(params=["owlv2", "grounding_dino"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def frames() -> Frames:
    chance = np.random.default_rng(0)
    return Frames(np.arange(5.0), chance.integers(0, 255, (5, 48, 80, 3), dtype=np.uint8))


def test_every_box_has_an_asked_label_and_lies_in_the_picture(folder: Path, frames: Frames) -> None:
    backend = BACKENDS.create("open_vocabulary", {"model": str(folder), "threshold": 0.0})
    found = backend.detect(frames, ["Cat", "red ball"])
    assert {one.index for one in found} == set(range(len(frames)))
    assert {one.label for one in found} <= {"cat", "red ball"}
    assert all(0 <= one.score <= 1 for one in found)
    assert all(0 <= one.region.x0 < one.region.x1 <= 1 for one in found)


def test_the_common_labels_are_used_when_none_is_asked(folder: Path, frames: Frames) -> None:
    backend = BACKENDS.create("open_vocabulary", {"model": str(folder), "threshold": 0.0, "labels": ["person"]})
    assert backend.labels() is None
    assert {one.label for one in backend.detect(frames, ())} == {"person"}


def test_batches_change_nothing(folder: Path, frames: Frames) -> None:
    options = {"model": str(folder), "threshold": 0.0}
    alone = BACKENDS.create("open_vocabulary", {**options, "batch": 1}).detect(frames, ["cat"])
    together = BACKENDS.create("open_vocabulary", {**options, "batch": 3}).detect(frames, ["cat"])
    assert [one.index for one in alone] == [one.index for one in together]
    boxes = [
        np.array([[o.region.x0, o.region.y0, o.region.x1, o.region.y1, o.score] for o in found])
        for found in (alone, together)
    ]
    np.testing.assert_allclose(boxes[0], boxes[1], atol=1e-4)


def test_the_threshold_drops_boxes(folder: Path, frames: Frames) -> None:
    backend = BACKENDS.create("open_vocabulary", {"model": str(folder), "threshold": 1.0})
    assert backend.detect(frames, ["cat"]) == []


def test_a_missing_checkpoint_is_a_profile_error(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        BACKENDS.create("open_vocabulary", {"model": str(tmp_path / "nowhere")})
    assert caught.value.field == "model"
    assert "nowhere" in caught.value.message
    assert "download: true" in caught.value.remedy


def test_another_kind_of_checkpoint_is_a_profile_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ProfileError) as caught:
        BACKENDS.create("open_vocabulary", {"model": str(tmp_path)})
    assert caught.value.field == "model"


def test_check_tells_without_loading(folder: Path, tmp_path: Path) -> None:
    kind = BACKENDS.get("open_vocabulary")
    assert kind.check(str(folder), threshold=0.3) is None
    assert kind.check(str(tmp_path / "nowhere"), download=True) is None
    assert kind.check(str(tmp_path / "nowhere")).field == "model"
