"""Zooming in pictures: a needle that only shows in the right part of the frame and in the right seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from agents.agent import Agent
from agents.answer import Answer
from agents.question import Budget, Question
from agents.reasoners.rules import RuleReasoner
from agents.rules.plan import plan
from tools.evidence import Cost, Evidence, Observation, Scope
from tools.media.span import Span
from tools.media.video import Video, VideoInfo
from tools.media.view import Region, View

pytestmark = pytest.mark.anyio
TOKENS = 64


@dataclass(frozen=True)
class Happening:
    """A small thing that does something in a part of the frame for a few seconds; ``scene`` is what stands large around
    it."""

    span: Span
    region: Region
    thing: str
    answer: str = ""
    scene: str = ""


def place(x: float, y: float) -> Region:
    return Region.of(x, y, x + 0.1, y + 0.18)


def clip(span: Span, region: Region | None = None) -> Evidence:
    return Evidence.make(
        video_id="film", kind="visual", span=span, region=region, text="", score=1.0, tool="search", model="towers"
    )


NEEDLE = Happening(Span.of(100, 104), place(0.2, 0.3), "green star", "left", "red circle")
OTHERS = [
    Happening(Span.of(20, 24), place(0.7, 0.1), "green moon", "up", "blue ring"),
    Happening(Span.of(60, 65), place(0.1, 0.7), "blue star", "down", "blue ring"),
    Happening(Span.of(110, 113), place(0.6, 0.6), "green heart", "right", "red circle"),
    Happening(Span.of(180, 184), place(0.4, 0.4), "pink star", "up", "white cross"),
]
SCENES = [Span.of(start, start + 10) for start in range(0, 240, 10)]


@dataclass
class Film:
    """Four minutes in which the index knows every place and every scene. It ranks by words in common, the needle last
    among equals; the model sees a thing in its region alone, and what it does in four pictures of it or more."""

    happenings: Sequence[Happening] = (*OTHERS, NEEDLE)
    looked: list[tuple[View, str]] = field(default_factory=list)

    async def videos(self, scope: Scope) -> list[Video]:
        info = VideoInfo(
            span=Span.of(0, 240),
            width=896,
            height=504,
            fps=6,
            video_codec="h264",
            audio_codec=None,
            subtitle_codec=None,
        )
        return [Video(id="film", name="film.mp4", path="/film.mp4", info=info)]

    async def search(self, query: str, scope: Scope, limit: int = 10) -> Observation:
        if "visual" not in scope.kinds:
            return Observation()
        words = set(query.split())
        places = [(one.thing, clip(one.span, one.region)) for one in self.happenings]
        scenes = [(self._scene(span), clip(span)) for span in SCENES]
        ranked = sorted([*places, *scenes], key=lambda one: -len(words & set(one[0].split())))
        inside = [found for _, found in ranked if scope.span is None or scope.span.overlaps(found.span)]
        return Observation(evidence=tuple(inside[:limit]))

    async def listen(self, view: View) -> Observation:
        return Observation()

    async def read(self, view: View) -> Observation:
        return Observation()

    async def detect(self, view: View, labels: Sequence[str] = ()) -> Observation:
        return Observation()

    async def look(self, view: View, question: str, method: str | None = None) -> Observation:
        self.looked.append((view, question))
        text = self._says(view, question)
        said = Evidence.make(
            video_id="film",
            kind="visual",
            span=view.span,
            region=view.region,
            text=text,
            score=0.9,
            view=view,
            tool="look",
            model="oracle",
        )
        frames = len(view.sample_times())
        tokens = TOKENS * frames
        cost = Cost(frames_decoded=frames, visual_tokens_in=tokens, visual_tokens_kept=tokens)
        return Observation(evidence=(said,), cost=cost)

    def _scene(self, span: Span) -> str:
        return " ".join({one.scene for one in self.happenings if one.span.overlaps(span)})

    def _says(self, view: View, question: str) -> str:
        times = view.sample_times()
        seen = [
            one
            for one in self.happenings
            if view.region is not None
            and view.region.iou(one.region) > 0.5
            and sum(one.span.start <= time < one.span.end for time in times) >= (1 if len(times) == 1 else 4)
        ]
        if question.startswith("Is there"):
            if view.region is None:
                return "yes" if self._scene(view.span) and self._scene(view.span) in question else "no"
            return "yes" if any(one.thing in question for one in seen) else "no"
        return next((one.answer for one in seen if one.thing in question), "not visible")

    @property
    def pictures(self) -> int:
        return sum(len(view.sample_times()) for view, _ in self.looked)


async def ask(make_agent: Callable[..., Agent], film: Film, text: str, **rules: bool) -> Answer:
    agent = make_agent(toolbox=film, reasoner=RuleReasoner(**rules))
    return await agent.ask(Question(text=text, options=("right", "up", "left", "down"), budget=Budget(seconds=None)))


@pytest.mark.parametrize(
    "text",
    [
        "In which direction does the green star move?",
        "Between 1:10 and 1:50: which way does the green star go?",
        "In the scene with the large red circle: where does the green star move?",
    ],
)
async def test_the_needle_is_found_in_few_pictures(make_agent: Callable[..., Agent], text: str) -> None:
    film = Film()
    answer = await ask(make_agent, film, text)
    assert (answer.answer, answer.option, answer.verdict) == ("left", "C", "grounded")
    citation = answer.citations[0]
    assert (citation.start, citation.end, citation.region) == (100, 104, NEEDLE.region)
    assert film.pictures <= 25
    assert answer.cost.visual_tokens_kept == film.pictures * TOKENS


async def test_a_thing_is_glanced_at_before_it_is_looked_at(make_agent: Callable[..., Agent]) -> None:
    film = Film()
    await ask(make_agent, film, "In which direction does the green star move?")
    questions = [question for _, question in film.looked]
    first = questions.index("In which direction does the green star move?")
    assert set(questions[:first]) == {"Is there a green star?"}
    assert all(len(view.sample_times()) == 1 for view, _ in film.looked[:first])
    assert len(film.looked[first][0].sample_times()) == 8


async def test_both_zooms_are_needed(make_agent: Callable[..., Agent]) -> None:
    text = "In which direction does the green star move?"
    assert (await ask(make_agent, Film(), text, space=False)).verdict == "not_found"
    assert (await ask(make_agent, Film(), text, time=False)).verdict == "not_found"


async def test_a_scene_that_does_not_show_the_thing_is_left(make_agent: Callable[..., Agent]) -> None:
    answer = await ask(make_agent, Film(), "In the scene with the large white cross: where does the green star move?")
    assert answer.option == "C"
    assert all(citation.quote == "left" for citation in answer.citations)


async def test_what_is_nowhere_is_not_found(make_agent: Callable[..., Agent]) -> None:
    film = Film(OTHERS)
    answer = await ask(make_agent, film, "In which direction does the green star move?")
    assert answer.verdict == "not_found"
    assert film.pictures <= 25


async def test_presence_is_answered_by_one_yes(make_agent: Callable[..., Agent]) -> None:
    agent = make_agent(toolbox=Film())
    assert (await agent.ask(Question(text="Is there a green star?"))).answer == "Yes (01:40-01:44)"
    assert (await agent.ask(Question(text="Is there a yellow star?"))).verdict == "not_found"


async def test_without_a_model_nothing_is_glanced_at(make_agent: Callable[..., Agent]) -> None:
    film = Film()

    async def nothing(*_: object) -> Observation:
        film.looked.append((View(video_id="film", span=Span.of(0, 1)), ""))
        return Observation(note="this profile has no vision-language model")

    film.look = nothing  # type: ignore[method-assign, assignment]
    answer = await ask(make_agent, film, "In which direction does the green star move?")
    assert answer.verdict == "not_found"
    assert len(film.looked) <= 4


async def test_uniform_looks_once(make_agent: Callable[..., Agent]) -> None:
    film = Film()
    question = Question(text="Where does the green star move?", budget=Budget(frames=128), strategy="uniform")
    answer = await make_agent(toolbox=film).ask(question)
    assert answer.verdict == "not_found"
    assert [len(view.sample_times()) for view, _ in film.looked] == [128]
    assert film.looked[0][0].span == Span.of(0, 240)


@pytest.mark.parametrize(
    ("text", "kinds", "anchors"),
    [
        ("What does the red star meet?", ("visual", "object"), [None]),
        ("Which number is written next to the white circle?", ("text", "visual"), [None]),
        ("Read the word that is shown with the green ring.", ("text", "visual"), [None]),
        ("What is written on the sign?", ("text",), [None]),
        (
            "Between 0:18 and 0:50: a heart stands next to the green star. What colour is it?",
            ("visual", "object"),
            ["from 18 to 50"],
        ),
        (
            "In the scene with the large pink arrow: what colour does the ring become?",
            ("visual", "object"),
            [None, "around q1"],
        ),
    ],
)
def test_where_a_question_about_things_looks(text: str, kinds: tuple[str, ...], anchors: list[str | None]) -> None:
    parts = plan(Question(text=text))
    assert [part.anchor for part in parts] == anchors
    assert parts[-1].kinds == kinds
    if len(parts) > 1:
        assert (parts[0].text, parts[0].kinds) == ("Is there a large pink arrow?", ("visual",))
