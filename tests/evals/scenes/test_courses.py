"""What has become of a thing is told of the patches that show it."""

import numpy as np

from evals.synth.scenes import COURSES, Scenes
from evals.synth.scenes.courses import NOWHERE, apart, courses, way
from evals.synth.scenes.render import Painter
from evals.synth.scenes.sample import CLIP_FRAMES, PATCH, SIDE
from evals.synth.scenes.world import Backdrop, Shot, Thing, World

PLAIN = Backdrop("plain", ((90, 90, 90), (90, 90, 90)))


def _told(*shots: Shot) -> list[list[dict[str, str]]]:
    """For each frame what is told of each thing of its shot, by name; nothing of those that are not shown."""
    world, times = World(shots, duration=float(CLIP_FRAMES)), np.arange(CLIP_FRAMES, dtype=np.float64)
    painter = Painter(world, SIDE, SIDE)
    things = np.stack([painter.labels(float(time), PATCH).thing for time in times])
    found = courses(world, times.tolist(), things)
    assert set(found) == set(COURSES)
    for kind in set(COURSES) - {"scene"}:
        assert not found[kind][things == 0].any()
    frames = []
    for step, shown in enumerate(things):
        names: dict[int, dict[str, str]] = {number: {} for number in range(1, len(world.shot_at(step).things) + 1)}
        for kind, classes in found.items():
            for number in names:
                values = set(classes[step][shown == number].tolist())
                assert len(values) <= 1
                names[number].update((kind, COURSES[kind][value]) for value in values)
        frames.append(list(names.values()))
    return frames


def _thing(shape: str, colour: str, *keys: tuple[float, float, float], **more: object) -> Thing:
    return Thing(shape, 0.2, keys, ((0.0, colour),), **more)  # type: ignore[arg-type]


def test_a_thing_that_moves_is_followed() -> None:
    mover = _thing("square", "red", (0.0, 0.2, 0.5), (6.0, 0.8, 0.5))
    rests = _thing("circle", "blue", (0.0, 0.8, 0.15))
    frames = _told(Shot(PLAIN, (rests, mover)))
    assert [frame[1]["way"] for frame in frames] == ["none", *["right"] * 7]
    assert [frame[1]["distance"] for frame in frames] == ["none", "1", "2", "2", "3", "4", "5", "5"]
    # What is as it was in the beginning has no course.
    assert all(set(frame[0].values()) == {"none"} for frame in frames)
    assert {(frame[1]["since"], frame[1]["origin"], frame[1]["touch"]) for frame in frames} == {("none",) * 3}


def test_what_comes_is_told_from_then_on_and_what_meets_touches() -> None:
    late = _thing("square", "red", (3.0, 0.2, 0.5), (7.0, 0.2, 0.2), span=(2.5, float("inf")))
    other = _thing("circle", "green", (0.0, 0.2, 0.2))
    frames = _told(Shot(PLAIN, (other, late)))
    assert [frame[1].get("since") for frame in frames] == [None, None, None, *["4"] * 5]
    assert [frame[1].get("way") for frame in frames][3:] == ["none", "up", "up", "up", "up"]
    assert frames[0][0]["touch"] == frames[3][0]["touch"] == "none"
    # Where one covers the other, the other may not be told of.
    assert frames[7][1]["touch"] == "yes"


def test_the_first_colour_is_remembered_and_scenes_are_counted() -> None:
    turns = Thing("star", 0.3, ((0.0, 0.5, 0.5),), ((0.0, "red"), (3.5, "blue")))
    frames = _told(Shot(PLAIN, (turns,)), Shot(PLAIN, (_thing("heart", "", (0.0, 0.5, 0.5)),), 5.5))
    assert [frame[0]["origin"] for frame in frames] == [*["none"] * 4, "red", "red", "none", "none"]
    assert [frame[0]["since"] for frame in frames] == [*["none"] * 6, "7", "7"]
    assert [frame[0]["scene"] for frame in frames] == [*["none"] * 6, "2", "2"]


def test_only_near_clips_have_courses() -> None:
    scenes = Scenes("train")
    assert scenes.picture(0).courses == {}
    assert scenes.clip(0, scale="far").courses == {}
    clips = [scenes.clip(index) for index in range(60)]
    for sample in clips:
        assert set(sample.courses) == set(COURSES)
        for kind, classes in sample.courses.items():
            assert classes.max() < len(COURSES[kind])
            assert not classes[0].any() or kind == "touch"
    assert all(any(sample.courses[kind].any() for sample in clips) for kind in COURSES)


def test_ways_and_gaps() -> None:
    assert [way((0.5, 0.5), end) for end in ((0.55, 0.5), (0.7, 0.6), (0.4, 0.5), (0.5, 0.3), (0.52, 0.8))] == [
        NOWHERE,
        *("right", "left", "up", "down"),
    ]
    one, other = _thing("square", "red", (0.0, 0.2, 0.5)), _thing("square", "blue", (0.0, 0.7, 0.5), (4.0, 0.35, 0.5))
    assert [apart(one, other, time) for time in (0.0, 2.0, 4.0)] == [3, 1, 0]
