"""Long videos with needles: short events, far away and small, that the questions are about."""

import random
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av

from evals.synth.scenes.backdrop import random_backdrop, showing
from evals.synth.scenes.layout import Layout
from evals.synth.scenes.needles import FAMILIES, Event, make_event
from evals.synth.scenes.render import Painter, reach
from evals.synth.scenes.stills import make_shape, make_writing
from evals.synth.scenes.vocabulary import Pair, Split, Universe, universe
from evals.synth.scenes.world import Backdrop, Shot, Thing, World
from evals.synth.script import Record
from tools.media.span import Span, format_time
from tools.media.view import Region

Hint = Literal["none", "time", "scene"]

_LETTERS = "ABCD"
#: Seconds that a needle lasts, and that a shot does: in films of two minutes at most, and in longer ones.
_NEEDLE = (3.0, 5.0)
_SHOT = {"short": (11.0, 18.0), "long": (16.0, 40.0)}
#: How many times smaller a needle's square is than the frame is high.
_SCALE = (4.5, 6.0)
_KEY_FRAME_SECONDS = 4


class Needle(Record):
    """A multiple-choice question about one short event.

    Attributes:
        question: without the options.
        answer: the letter of the right option.
        family: what is asked about.
        hint: what the question says about where to look: nothing, a stretch of time, or the scene's landmark.
        span, region: when and where everything is seen that the answer needs.
    """

    question: str
    options: tuple[str, ...]
    answer: str
    family: str
    hint: Hint
    span: Span
    region: Region

    @property
    def text(self) -> str:
        """The right option's words."""
        return self.options[_LETTERS.index(self.answer)]


class NeedleTruth(Record):
    """The questions of one video."""

    minutes: float
    seed: int
    needles: tuple[Needle, ...]

    def save(self, path: Path) -> None:
        """Writes the truth as JSON."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "NeedleTruth":
        """Reads what `save` wrote."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Film:
    """A long video that can be drawn and written, with its questions."""

    world: World
    truth: NeedleTruth
    width: int
    height: int
    fps: int

    @property
    def needles(self) -> tuple[Needle, ...]:
        """The questions in order of time."""
        return self.truth.needles

    def write(self, path: Path) -> None:
        """Draws the film into an MP4 (H.264, silent) and saves the truth beside it, as ``.needles.json``.

        Memory does not grow with the duration. The file appears only when it is complete.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        try:
            self._encode(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        self.truth.save(needles_path(path))

    def _encode(self, path: Path) -> None:
        painter = Painter(self.world, self.width, self.height)
        with av.open(str(path), "w", format="mp4") as container:
            video = container.add_stream("libx264", rate=self.fps)
            video.width, video.height, video.pix_fmt = self.width, self.height, "yuv420p"
            video.codec_context.gop_size = _KEY_FRAME_SECONDS * self.fps
            # One thread, so that the bytes do not depend on the machine's core count.
            video.codec_context.thread_count = 1
            video.options = {"preset": "ultrafast", "qp": "24"}
            frame, drawn = None, None
            for index in range(round(self.world.duration * self.fps)):
                picture = painter.picture(index / self.fps)
                if frame is None or picture is not drawn:
                    frame, drawn = (
                        av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p"),
                        picture,
                    )
                frame.pts, frame.time_base = index, Fraction(1, self.fps)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))


def needles_path(video: Path) -> Path:
    """Where the questions of a video are kept: beside it."""
    return video.with_suffix(".needles.json")


def benchmark(
    minutes: float, seed: int, *, split: Split = "test", width: int = 896, height: int = 504, fps: int = 6
) -> Film:
    """A film of shots with landmarks and bustle, and needles in it: three in a minute, seven in ten, twelve in an hour.

    The pair of colour and shape that a question names appears once in the whole film, and so does the landmark's.
    """
    maker = _Maker(universe(split), random.Random(f"{split} {seed} benchmark {minutes}"), width / height, fps)
    world, needles = maker.film(minutes * 60, max(1, round(3 * minutes**0.34)))
    return Film(world, NeedleTruth(minutes=minutes, seed=seed, needles=needles), width, height, fps)


class _Maker:
    def __init__(self, universe: Universe, chance: random.Random, aspect: float, fps: int) -> None:
        self._chance, self._aspect, self._fps = chance, aspect, fps
        # Pairs that nothing else in the film may have are taken out of this one.
        self._common = universe

    def film(self, duration: float, count: int) -> tuple[World, tuple[Needle, ...]]:
        chance = self._chance
        starts = self._shots(duration)
        ends = [*starts[1:], duration]
        count = min(count, len(starts))
        # Needles are spread evenly, one to a shot.
        chosen = sorted({int((index + chance.random()) * len(starts) / count) for index in range(count)})
        backdrops = [random_backdrop(chance) for _ in starts]
        pairs = {shot: self._keep(backdrops[shot]) for shot in chosen}
        landmarks = {shot: self._keep(backdrops[shot]) for shot in chosen}
        hints: list[Hint] = [("none", "time", "scene")[index % 3] for index in range(len(chosen))]
        families = [FAMILIES[index % len(FAMILIES)] for index in range(len(chosen))]
        letters = [_LETTERS[index % 4] for index in range(len(chosen))]
        for order in (hints, families, letters):
            chance.shuffle(order)
        told = dict(zip(chosen, zip(hints, families, letters, strict=True), strict=True))
        shots, needles = [], []
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            stage = _Frame(backdrops[index], start, end)
            self._furnish(stage, landmarks.get(index))
            if index in told:
                hint, family, letter = told[index]
                began = self._on_frame(chance.uniform(start + 2, end - _NEEDLE[1] - 2))
                ended = self._on_frame(began + chance.uniform(*_NEEDLE))
                event = make_event(self._common, chance, stage.backdrop, pairs[index], family, began, ended)
                region = self._add(stage, event, make_room=True)
                assert region is not None
                needles.append(self._needle(event, hint, letter, stage, landmarks[index], (began, ended), region))
            self._bustle(stage)
            # What rests comes first: it is drawn once.
            things = tuple(sorted(stage.things, key=lambda thing: not thing.rests))
            shots.append(Shot(stage.backdrop, things, start))
        return World(tuple(shots), self._aspect, duration), tuple(needles)

    def _shots(self, duration: float) -> list[float]:
        starts, time = [0.0], 0.0
        lengths = _SHOT["short" if duration <= 120 else "long"]
        while True:
            time += self._chance.uniform(*lengths)
            if duration - time < lengths[0]:
                return starts
            starts.append(self._on_frame(time))

    def _on_frame(self, time: float) -> float:
        return round(time * self._fps) / self._fps

    def _keep(self, backdrop: Backdrop) -> Pair:
        """A pair that nothing else in the film will have."""
        pair = self._common.pair(self._chance, showing(backdrop))
        self._common = self._common.without((pair,))
        return pair

    def _furnish(self, stage: "_Frame", landmark: Pair | None) -> None:
        """Large things at rest: the landmark, a few others, perhaps a sign."""
        chance = self._chance
        pairs = [landmark] if landmark else []
        pairs += [self._common.pair(chance, showing(stage.backdrop)) for _ in range(chance.randint(1, 2))]
        for index, pair in enumerate(pairs):
            size = chance.uniform(0.3, 0.36) if landmark and index == 0 else chance.uniform(0.16, 0.3)
            thing = make_shape(chance, pair, size)
            middle = self._room(stage, *reach(thing))
            if middle:
                stage.things.append(replace(thing, keys=((0.0, *middle),)))
        if chance.random() < 0.4:
            sign = make_writing(chance, stage.backdrop, self._common.word(chance), 0.1)
            half_x, half_y = reach(sign)
            middle = self._room(stage, half_x + 0.04, half_y + 0.04)
            if middle:
                stage.things.append(replace(sign, keys=((0.0, *middle),)))

    def _bustle(self, stage: "_Frame") -> None:
        """Other small events, so that a needle is not the only thing that happens."""
        chance = self._chance
        for _ in range(chance.choice((0, 1, 1, 2))):
            start = self._on_frame(chance.uniform(stage.start, max(stage.start, stage.end - 6)))
            end = self._on_frame(min(start + chance.uniform(3, 6), stage.end))
            pair, family = self._common.pair(chance, showing(stage.backdrop)), chance.choice(FAMILIES)
            event = make_event(self._common, chance, stage.backdrop, pair, family, start, end)
            self._add(stage, event)

    def _add(self, stage: "_Frame", event: Event, *, make_room: bool = False) -> Region | None:
        """Puts an event somewhere into the frame, if need be in the place of furniture; its region."""
        scale = self._chance.uniform(*_SCALE)
        half = 0.5 / scale
        middle = self._room(stage, half, half)
        while middle is None and make_room:
            # A shot so full that nothing fits loses its last piece of furniture.
            stage.layout.boxes.pop()
            stage.things.pop()
            middle = self._room(stage, half, half)
        if middle is None:
            return None
        left, top = middle[0] - half, middle[1] - half
        stage.things += event.placed(scale, left, top)
        wide = self._aspect
        return Region.of(left / wide, top, (left + 2 * half) / wide, top + 2 * half)

    def _room(self, stage: "_Frame", half_x: float, half_y: float) -> tuple[float, float] | None:
        for _ in range(80):
            x = self._chance.uniform(half_x, self._aspect - half_x)
            y = self._chance.uniform(half_y, 1 - half_y)
            if stage.layout.free(x, y, (half_x, half_y)):
                stage.layout.boxes.append((x, y, half_x, half_y))
                return x, y
        return None

    def _needle(
        self,
        event: Event,
        hint: Hint,
        letter: str,
        stage: "_Frame",
        landmark: Pair,
        span: tuple[float, float],
        region: Region,
    ) -> Needle:
        question = event.question
        if hint == "time":
            low = max(stage.start - self._chance.uniform(0, 10), 0)
            high = stage.end + self._chance.uniform(0, 10)
            question = f"Between {format_time(low)} and {format_time(high)}: {question[0].lower()}{question[1:]}"
        elif hint == "scene":
            scene = f"In the scene with the large {landmark[0]} {landmark[1]}"
            question = f"{scene}: {question[0].lower()}{question[1:]}"
        options = list(event.wrong)
        self._chance.shuffle(options)
        options.insert(_LETTERS.index(letter), event.answer)
        return Needle(
            question=question,
            options=tuple(options),
            answer=letter,
            family=event.family,
            hint=hint,
            span=Span.of(*span),
            region=region,
        )


class _Frame:
    """A shot in the making."""

    def __init__(self, backdrop: Backdrop, start: float, end: float) -> None:
        self.backdrop, self.start, self.end = backdrop, start, end
        self.layout = Layout()
        self.things: list[Thing] = []
