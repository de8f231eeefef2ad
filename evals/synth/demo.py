"""The five-minute demo: a tour of a lake research station, and questions whose answers are known."""

from dataclasses import dataclass
from functools import lru_cache

from evals.synth.script import Caption, Clock, Event, MovingObject, Record, Scene, Script, Slide, Speech, Texture
from evals.synth.speech import speak
from evals.synth.truth import Truth, truth_of
from tools.evidence import Kind
from tools.media.span import Span

DURATION = 300.0
#: Seconds between the end of a sentence and what appears on screen because of it.
_REACTION = 0.6
#: Height of a small thing, in fractions of the picture's, where two of them stand, and seconds for which they do.
_SMALL, _PAIR, _STAYS = 0.055, (0.78, 0.84), 8.0
#: Height of the strip below the slides in which objects move.
_STRIP = 0.74


class DemoQuestion(Record):
    """A question about the demo video.

    Attributes:
        answer: words that a right answer contains.
        span: what a right citation overlaps.
        kind: of the evidence that has the answer.
    """

    question: str
    answer: tuple[str, ...]
    span: Span
    kind: Kind


@dataclass(frozen=True)
class _Stop:
    """A stop of the tour, with its own scene.

    Attributes:
        sentences: what is said there.
        after: number of the sentence after which ``shows`` appears; it stays until the stop ends. -1 is at once.
        shows: title and lines of a slide, or the text of a caption.
        thing: colour and shape of an object that crosses the picture, if there is one.
        pair: two small things that stand side by side for a few seconds, if there are any.
    """

    texture: Texture
    sentences: tuple[str, ...]
    after: int
    shows: tuple[str, ...] | str
    thing: str | None = None
    pair: tuple[str, str] | None = None
    clock: bool = False


_TOUR = (
    _Stop(
        "hills",
        (
            "Welcome to the research station at the lake.",
            "My name is Robert.",
            "I will show you all the important places.",
            "About thirty people live here.",
            "Most of the people come from Canada.",
            "Some of us have been here for many years.",
        ),
        -1,
        ("Lake Research Station", "Guided tour for visitors", "Winter season"),
        clock=True,
    ),
    _Stop(
        "plain",
        (
            "It is the oldest part of the station.",
            "The station was built a long time ago.",
            "From here you can see the mountains.",
            "In the summer you can see for fifty miles.",
            "A computer on the roof measures the temperature.",
        ),
        -1,
        ("Weather Tower", "Height: 62 meters", "Built in 1934"),
        pair=("green diamond", "orange circle"),
    ),
    _Stop(
        "stripes",
        (
            "In the winter nobody can use the road.",
            "Last year the road was closed for three months.",
            "The train comes every Friday.",
            "Sometimes the train is late.",
            "Then we have to wait for a long time.",
            "Everybody is happy when it comes.",
        ),
        0,
        "North Road closed until April",
        thing="yellow star",
    ),
    _Stop(
        "plain",
        (
            "On the right you can see our boats.",
            "Each of them can carry ten people.",
            "Please be careful on the stairs.",
        ),
        0,
        ("Boat House", "Boats: Anna and Victor", "Deepest point: 314 meters"),
        thing="red triangle",
    ),
    _Stop(
        "checks",
        (
            "Next comes the laboratory.",
            "Only two people can use it.",
            "Here you can see the new microscope.",
            "It was a present from the president.",
        ),
        2,
        "Sample 4471 from Blue Bay",
    ),
    _Stop(
        "hills",
        (
            "Next comes the kitchen.",
            "The kitchen is on the other side.",
            "Everybody must help in the kitchen.",
        ),
        1,
        "Lunch in Hall 3 at 12:30",
        thing="blue circle",
    ),
    _Stop(
        "stripes",
        (
            "Next comes the library.",
            "In the evening somebody plays the guitar.",
            "On Sunday everybody comes together here.",
        ),
        0,
        ("Library", "Books: 2650", "Open day and night"),
    ),
    _Stop(
        "plain",
        (
            "That is everything for today.",
            "Thank you for your visit, and have a safe journey home.",
        ),
        0,
        ("Thank You", "Next tour at 10:15", "Ticket office: Room 27"),
        clock=True,
    ),
)


@lru_cache(maxsize=1)
def demo_script() -> Script:
    """The demo video: five minutes, 854x480."""
    lengths = [[speak(sentence).duration for sentence in stop.sentences] for stop in _TOUR]
    sentences = sum(map(len, lengths))
    # Equal pauses around all sentences fill the time; a change of scene falls in the midst of one.
    pause = (DURATION - sum(map(sum, lengths))) / sentences
    events: list[Event] = []
    time = 0.0
    for number, (stop, seconds) in enumerate(zip(_TOUR, lengths, strict=True)):
        span = Span.of(time, min(time + sum(seconds) + pause * len(seconds), DURATION))
        if number == len(_TOUR) - 1:
            span = Span.of(time, DURATION)
        events.append(Scene(span=span, texture=stop.texture, tint=number * 2 + 1))
        shown_from = time + 1.0
        at = time + pause / 2
        for index, (sentence, length) in enumerate(zip(stop.sentences, seconds, strict=True)):
            events.append(Speech(start=round(at, 3), text=sentence))
            if index == stop.after:
                shown_from = at + length + _REACTION
            at += length + pause
        events += _pictures(stop, Span.of(round(shown_from, 3), span.end), span)
        time = span.end
    return Script(
        seed=1,
        duration=DURATION,
        width=854,
        height=480,
        events=tuple(events),
    )


def demo_questions() -> list[DemoQuestion]:
    """One question answered by speech alone, one by the screen alone, one that needs both, and one about things so
    small that only looking closer tells."""
    truth = truth_of(demo_script())
    return [
        DemoQuestion(
            question="On which day does the train come?",
            answer=("friday",),
            span=_said(truth, "Friday"),
            kind="speech",
        ),
        DemoQuestion(
            question="How many meters is the deepest point?",
            answer=("314",),
            span=_written(truth, "314"),
            kind="text",
        ),
        DemoQuestion(
            question="What is written on screen right after the speaker mentions the microscope?",
            answer=("4471", "Blue", "Bay"),
            span=_written(truth, "4471"),
            kind="text",
        ),
        DemoQuestion(
            question="What shape is the orange object next to the green diamond?",
            answer=("circle",),
            span=next(thing.span for thing in truth.shown if thing.label == "orange circle"),
            kind="visual",
        ),
    ]


def _pictures(stop: _Stop, shown: Span, whole: Span) -> list[Event]:
    """What a stop shows besides its scene."""
    events: list[Event] = []
    if isinstance(stop.shows, str):
        events.append(Caption(span=shown, text=stop.shows))
    else:
        events.append(Slide(span=shown, title=stop.shows[0], lines=stop.shows[1:]))
    if stop.thing:
        color, shape = stop.thing.split()
        path = ((0.08, _STRIP), (0.92, _STRIP))
        moves = Span.around(whole.middle, 5.0)
        events.append(
            MovingObject.model_validate({"span": moves, "color": color, "shape": shape, "path": path, "size": 0.09})
        )
    for name, x in zip(stop.pair or (), _PAIR, strict=False):
        color, shape = name.split()
        stands = {"span": Span.around(whole.middle, _STAYS), "path": ((x, _STRIP),), "size": _SMALL}
        events.append(MovingObject.model_validate({"color": color, "shape": shape, **stands}))
    if stop.clock:
        events.append(Clock(span=whole))
    return events


def _said(truth: Truth, word: str) -> Span:
    return next(said.span for said in truth.said if word in said.text)


def _written(truth: Truth, text: str) -> Span:
    return next(line.span for line in truth.written if text in line.text)
