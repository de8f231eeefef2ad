"""Drawn videos: the file shows and says what the truth claims."""

import hashlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evals.synth.builders import long_script, short_script
from evals.synth.draw import Painter
from evals.synth.script import COLORS, SHAPES, Caption, Clock, MovingObject, Scene, Script, Slide, Speech
from evals.synth.shapes import PALETTE, sprite
from evals.synth.speech import speak
from evals.synth.truth import Truth, truth_of, truth_path
from evals.synth.write import write
from tools.errors import BadInput
from tools.media.audio import read_audio
from tools.media.probe import probe
from tools.media.span import Span
from tools.media.view import Region

Short = tuple[Script, Path, Truth]


def pictures(path: Path) -> dict[float, np.ndarray]:
    with av.open(str(path)) as container:
        return {
            round(float(frame.time or 0), 3): frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)
        }


def cut(picture: np.ndarray, region: Region) -> np.ndarray:
    height, width = picture.shape[:2]
    return picture[
        round(region.y0 * height) : round(region.y1 * height), round(region.x0 * width) : round(region.x1 * width)
    ].astype(int)


def test_the_file_has_the_length_rate_and_key_frames_of_the_script(short: Short) -> None:
    script, path, truth = short
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        keys = [float(packet.pts * packet.time_base) for packet in packets if packet.is_keyframe]
        assert container.streams.video[0].average_rate == script.fps
        assert (container.streams.video[0].width, container.streams.video[0].height) == (640, 360)
    assert len(packets) == script.frame_count
    assert max(np.diff(keys)) <= 2.0
    assert probe(path).span.end == pytest.approx(truth.duration, abs=0.1)


def test_the_truth_lies_beside_the_video(short: Short) -> None:
    script, path, truth = short
    assert Truth.load(truth_path(path)) == truth == truth_of(script)


def test_written_lines_are_there_while_they_are_said_to_be(short: Short) -> None:
    _, path, truth = short
    shown = pictures(path)
    assert {line.part for line in truth.written} == {"title", "line", "caption"}
    for line in truth.written:
        for time, picture in shown.items():
            ink = cut(picture, line.region)
            contrast = np.percentile(ink, 98) - np.percentile(ink, 2)
            assert (contrast > 150) == (time in line.span), (line.text, time)


def test_a_region_holds_all_of_the_ink(short: Short) -> None:
    script, path, truth = short
    for line in truth.written:
        picture = pictures(path)[round(np.ceil(line.span.start * script.fps) / script.fps, 3)]
        around = line.region.pad(0.1)
        darkness = np.abs(cut(picture, around) - np.median(cut(picture, around), axis=(0, 1))).max(axis=2) > 90
        rows, columns = np.nonzero(darkness)
        height, width = picture.shape[:2]
        top, left = round(around.y0 * height), round(around.x0 * width)
        assert rows.min() + top >= line.region.y0 * height - 2
        assert rows.max() + top <= line.region.y1 * height + 2
        assert columns.min() + left >= line.region.x0 * width - 2
        assert columns.max() + left <= line.region.x1 * width + 2


def test_objects_are_where_the_truth_says(short: Short) -> None:
    script, path, truth = short
    (thing,) = script.of(MovingObject)
    (record,) = truth.shown
    assert record.label == thing.label
    color = np.array(PALETTE[thing.color])
    for time, picture in pictures(path).items():
        if time not in thing.span:
            continue
        region = thing.region_at(time, script.aspect)
        assert region is not None
        near = np.abs(cut(picture, region.pad(1.0)) - color).max(axis=2) < 60
        _rows, columns = np.nonzero(near)
        left = round(region.pad(1.0).x0 * script.width)
        middle = (columns.min() + columns.max() + 1) / 2 + left
        assert middle == pytest.approx((region.x0 + region.x1) / 2 * script.width, abs=3)
    assert record.places[0].region == thing.region_at(thing.span.start, script.aspect)


def test_speech_is_heard_when_the_truth_says(short: Short) -> None:
    _, path, truth = short
    sound = np.abs(read_audio(path, Span.of(0, truth.duration)))
    loud = np.flatnonzero(sound > 0.01) / 16_000
    (said,) = truth.said
    assert loud[0] == pytest.approx(said.span.start, abs=0.05)
    assert loud[-1] == pytest.approx(said.span.end, abs=0.05)
    words = [word.text for word in said.words]
    assert words == said.text.rstrip(".").split()
    for earlier, later in zip(said.words, said.words[1:], strict=False):
        assert said.span.start <= earlier.span.start < earlier.span.end <= later.span.start + 1e-6
    assert said.words[-1].span.end == pytest.approx(said.span.end, abs=1e-3)


def test_the_clock_ticks() -> None:
    script = Script(duration=5, events=(Clock(span=Span.of(0, 5)),))
    painter = Painter(script)
    (clock,) = truth_of(script).clocks
    seconds = [cut(painter.picture(time), clock.region) for time in (0.0, 0.9, 1.0, 2.5)]
    assert np.array_equal(seconds[0], seconds[1])
    assert not np.array_equal(seconds[1], seconds[2])
    assert not np.array_equal(seconds[2], seconds[3])


def test_the_same_script_gives_the_same_bytes(short: Short, tmp_path: Path) -> None:
    script, path, _ = short
    write(script, tmp_path / "again.mp4")
    digests = {hashlib.sha256(one.read_bytes()).hexdigest() for one in (path, tmp_path / "again.mp4")}
    assert len(digests) == 1
    assert short_script(7, duration=8) == script != short_script(8, duration=8)


def test_pictures_that_do_not_change_are_drawn_once() -> None:
    script = Script(duration=10, events=(Scene(span=Span.of(0, 10)), Slide(span=Span.of(2, 8), title="Still")))
    painter = Painter(script)
    drawn = [painter.picture(index / 25) for index in range(250)]
    assert len({id(picture) for picture in drawn}) == 2


def test_a_script_is_data() -> None:
    script = long_script(3, 2, speech=True)
    assert Script.model_validate_json(script.model_dump_json()) == script


@pytest.mark.parametrize("speech", [True, False])
def test_long_scripts_fill_their_time(speech: bool) -> None:
    truth = truth_of(long_script(2, 10, speech=speech))
    assert truth.shots[0].span.start == 0
    assert truth.shots[-1].span.end == truth.duration == 600
    for earlier, later in zip(truth.shots, truth.shots[1:], strict=False):
        assert earlier.span.end == later.span.start
    talking = sum(said.span.duration for said in truth.said)
    assert talking > 450 if speech else talking == 0
    for earlier_said, later_said in zip(truth.said, truth.said[1:], strict=False):
        assert earlier_said.span.end < later_said.span.start


@settings(max_examples=30)
@given(st.sampled_from(SHAPES), st.sampled_from(COLORS), st.integers(8, 90))
def test_a_sprite_fills_its_box(shape: str, color: str, pixels: int) -> None:
    alpha = sprite(shape, color, pixels)[..., 3]  # type: ignore[arg-type]
    assert alpha.shape == (pixels, pixels)
    for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        assert edge.max() > 0


paths = st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), min_size=1, max_size=5)


@given(paths, st.floats(0, 1), st.floats(0.01, 1))
def test_an_object_stays_on_its_path(path: list[tuple[float, float]], share: float, size: float) -> None:
    thing = MovingObject(span=Span.of(10, 20), color="red", shape="ring", path=tuple(path), size=size)
    x, y = thing.middle_at(10 + 10 * share)
    assert min(p[0] for p in path) - 1e-9 <= x <= max(p[0] for p in path) + 1e-9
    assert min(p[1] for p in path) - 1e-9 <= y <= max(p[1] for p in path) + 1e-9
    assert thing.middle_at(0) == path[0]
    assert thing.middle_at(99) == pytest.approx(path[-1])


def test_two_slides_at_once_are_refused() -> None:
    slides = (Slide(span=Span.of(0, 3), title="One"), Slide(span=Span.of(2, 5), title="Two"))
    with pytest.raises(ValidationError, match="at once"):
        Script(duration=5, events=slides)


def test_speech_needs_sound_and_time(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="needs sound"):
        Script(duration=5, sound=False, events=(Speech(start=0, text="hello"),))
    script = Script(duration=1, events=(Speech(start=0.8, text="this takes longer than that"),))
    with pytest.raises(BadInput, match="after the end") as caught:
        write(script, tmp_path / "none.mp4")
    assert caught.value.field == "duration"
    assert list(tmp_path.iterdir()) == []


def test_a_long_caption_is_made_to_fit() -> None:
    script = Script(duration=1, events=(Caption(span=Span.of(0, 1), text="very " * 30 + "long"),))
    (line,) = truth_of(script).written
    assert 0 < line.region.x0 < line.region.x1 < 1


def test_speech_sounds_the_same_in_every_process() -> None:
    program = "from evals.synth.speech import speak; import sys; sys.stdout.buffer.write(speak({!r}).samples.tobytes())"
    said = "She sells sea shells."
    elsewhere = subprocess.run([sys.executable, "-c", program.format(said)], check=True, capture_output=True).stdout
    speak("Something else before it.")
    assert speak(said).samples.tobytes() == elsewhere
