"""Questions of every type, asked of the scripted world from end to end."""

from collections.abc import Callable

import pytest
from world import LINE, World, WorldToolbox, said, seen, shown, unavailable, written

from agents.agent import Agent
from agents.answer import Answer
from agents.question import Question
from agents.rules import judge
from tools.evidence import Scope
from tools.media.span import Span
from tools.media.view import Region

Make = Callable[..., Agent]
pytestmark = pytest.mark.anyio


async def ask(agent: Agent, text: str, *videos: str, **fields: object) -> Answer:
    return await agent.ask(Question(text=text, scope=Scope(video_ids=videos), **fields))


# question, answer, kind of the first citation, its start
DOCUMENTARY = [
    ("What is the depth of the lake?", "the lake is forty two meters deep", "speech", 12),
    ("How deep is the lake?", "the lake is forty two meters deep", "speech", 12),
    ("How fast does the glacier move?", "the glacier moves three centimeters every day", "speech", 90),
    ("When does the speaker mention the lighthouse?", "At 00:40 (00:40-00:44)", "speech", 40),
    ("When is the glacier mentioned last?", "At 03:20 (03:20-03:24)", "speech", 200),
    ('When does the text "Chapter Two" appear?', "At 01:06 (01:06-01:20)", "text", 66),
    ("How many times is the glacier mentioned?", "3 times: 01:30, 02:10, 03:20", "speech", 90),
    ("How many faces are visible?", "2", "object", 140),
    ("Is there a face in the video?", "Yes: face (02:20-02:30)", "object", 140),
    ("Does the speaker mention volcanoes?", 'Yes: "volcanoes formed this valley a million years ago"', "speech", 60),
    (
        "Is the water warm enough for trout?",
        'No: "measurements show the water is not warm enough for trout"',
        "speech",
        161,
    ),
    ("Is the lake 50 meters deep?", 'No: "the lake is forty two meters deep and ice cold all year"', "speech", 12),
    ("What does the caption say at 1:10?", "Chapter Two: Fire", "text", 66),
    ("Who is speaking at 1:40?", "Professor Lena Fischer", "text", 96),
    ("What is the title of the film?", "The Hidden Lakes / A film by Ada Moreno", "text", 0),
    ("What is the last thing the speaker says?", "goodbye and see you next time", "speech", 282),
    ("What is written on screen at the end of the video?", "Thanks for watching", "text", 280),
    ("What does the speaker say in the first 10 seconds?", "welcome to our journey through the mountains", "speech", 2),
    ("What does the speaker say at 2:12?", "the glacier is melting faster than ever before", "speech", 130),
    ("What does the speaker say about volcanoes?", "volcanoes formed this valley a million years ago", "speech", 60),
    ("What is the temperature?", "Temperature: 4 degrees", "text", 160),
    ("What colour is the canoe?", "a red canoe on the lake", "visual", 180),
    (
        "What is written on screen right after the speaker mentions the lighthouse?",
        "Built 1887 by Henrik Olsen",
        "text",
        46,
    ),
    (
        "What does the speaker say right before the title Fire appears?",
        "volcanoes formed this valley a million years ago",
        "speech",
        60,
    ),
    ("What is on the screen while the speaker talks about trout?", "Temperature: 4 degrees", "text", 160),
    (
        "What is said between the mention of the lighthouse and the title Fire?",
        "volcanoes formed this valley a million years ago",
        "speech",
        60,
    ),
    (
        "What is said right after the second mention of the glacier?",
        "measurements show the water is not warm enough for trout",
        "speech",
        161,
    ),
    ("After the narrator talks about volcanoes, what title is shown?", "Chapter Two: Fire", "text", 66),
]


@pytest.mark.parametrize(("text", "expected", "kind", "start"), DOCUMENTARY, ids=[row[0] for row in DOCUMENTARY])
async def test_answers_with_proof(make_agent: Make, text: str, expected: str, kind: str, start: float) -> None:
    answer = await ask(make_agent(), text, "documentary")
    assert answer.answer == expected
    assert answer.verdict == "grounded"
    assert answer.stopped == "answered"
    first = answer.citations[0]
    assert (first.kind, first.start, first.verdict) == (kind, start, "confirmed")
    assert answer.confidence > 0.5
    assert answer.searched


@pytest.mark.parametrize(
    "text",
    [
        "What is the price of bread?",
        "Does the speaker mention whales?",
        "How deep is the ocean trench?",
        "When does the speaker mention elephants?",
        "What is written on screen right after the speaker mentions elephants?",
        "How many times is the submarine mentioned?",
        "Who painted the ceiling of the cathedral?",
    ],
)
async def test_what_is_not_there_is_not_found(make_agent: Make, text: str) -> None:
    answer = await ask(make_agent(), text, "documentary")
    assert answer.answer == "Not found in the video."
    assert (answer.verdict, answer.citations, answer.confidence, answer.option) == ("not_found", (), 0.0, None)
    assert {item.tool for item in answer.searched} >= {"search"}
    assert all(item.video_id == "documentary" for item in answer.searched)
    assert answer.sub_questions[-1].state == "not_found"


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        ("How deep is the lake?", ("12 meters", "42 meters", "80 meters"), "B"),
        ("Which of the following is mentioned?", ("whales", "a desert", "a lighthouse"), "C"),
        ("Does the speaker mention volcanoes?", ("No", "Yes"), "B"),
        ("Is the water warm enough for trout?", ("Yes", "No"), "B"),
        ("How many times is the glacier mentioned?", ("once", "twice", "three", "four"), "C"),
        ("When is the lighthouse mentioned?", ("0:10", "0:41", "3:00"), "B"),
        ("What is written right after the speaker mentions the lighthouse?", ("Chapter One", "Built 1887"), "B"),
        ("What does the narrator study?", ("whales", "birds", "deserts"), None),
        ("How deep is the lake?", ("12 meters", "13 meters"), None),
        ("Does the speaker mention whales?", ("Yes", "No"), None),
    ],
)
async def test_options(make_agent: Make, text: str, options: tuple[str, ...], letter: str | None) -> None:
    answer = await ask(make_agent(), text, "documentary", options=options)
    assert answer.option == letter
    assert answer.answer == (options["ABCD".index(letter)] if letter else "Not found in the video.")
    assert (answer.verdict == "not_found") == (letter is None)


async def test_an_option_may_be_supported_where_no_answer_was_found(
    make_agent: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "matches", lambda *_: [])
    options = ("forty two meters", "ninety meters")
    answer = await ask(make_agent(), "What is the depth of the lake?", "documentary", options=options)
    assert answer.answer == options[0]
    assert answer.citations[0].kind == "speech"


async def test_the_scope_is_a_set_of_videos(make_agent: Make) -> None:
    agent = make_agent()
    both = await ask(agent, "Where was the guide born?")
    assert both.answer == "our guide maria was born in porto"
    assert {citation.video_id for citation in both.citations} == {"travel"}
    assert {item.video_id for item in both.searched} == {"documentary", "travel"}
    one = await ask(agent, "Where was the guide born?", "documentary")
    assert one.verdict == "not_found"
    neither = await ask(agent, "How many elephants are mentioned?", "documentary", "travel")
    assert neither.answer == "Not found in the videos."


async def test_an_anchor_stays_in_its_video(make_agent: Make) -> None:
    answer = await ask(make_agent(), "What is written right after the speaker mentions the bridge?")
    assert answer.answer == "Ponte 25 de Abril"
    assert {citation.video_id for citation in answer.citations} == {"travel"}


async def test_a_span_in_scope_confines_the_answer(make_agent: Make) -> None:
    scope = Scope(video_ids=("documentary",), span=Span.of(120, 220))
    answer = await make_agent().ask(Question(text="How many times is the glacier mentioned?", scope=scope))
    assert answer.answer == "2 times: 02:10, 03:20"
    assert all(scope.span is not None and scope.span.overlaps(item.span) for item in answer.searched)


async def test_misheard_words_are_found(make_agent: Make, world: World) -> None:
    def mishear(text: str) -> str:
        return text.replace("lighthouse", "light house").replace("volcanoes", "volcanos").replace("glacier", "glazier")

    agent = make_agent(toolbox=WorldToolbox(world, misheard=mishear))
    for text, start in [
        ("When does the speaker mention the lighthouse?", 40),
        ("When does the speaker mention volcanoes?", 60),
        ("When does the speaker mention the glacier?", 90),
    ]:
        answer = await ask(agent, text, "documentary")
        assert answer.citations[0].start == start, text


async def test_what_the_index_does_not_know_is_perceived(make_agent: Make, world: World) -> None:
    toolbox = WorldToolbox(world, indexed=())
    answer = await ask(make_agent(toolbox=toolbox), "How deep is the lake?", "documentary")
    assert answer.answer == "the lake is forty two meters deep"
    assert answer.verdict == "grounded"
    assert {name for name, _ in toolbox.calls} >= {"search", "listen"}


async def test_an_answer_over_two_utterances(make_agent: Make) -> None:
    world = World(
        {"v": (60.0, [said(10, 14, "the observatory stands on a hill"), said(15, 18, "it is ninety metres high")])}
    )
    answer = await ask(make_agent(toolbox=WorldToolbox(world)), "How high is the observatory?", "v")
    assert [citation.quote for citation in answer.citations] == [
        "the observatory stands on a hill",
        "it is ninety metres high",
    ]
    assert "ninety metres" in answer.answer


async def test_lines_of_a_slide_answer_together(make_agent: Make) -> None:
    rows = [("Weather Tower", 0.1), ("Height: 62 meters", 0.3), ("Built in 1934", 0.5)]
    slide = [written(10, 40, text, Region.of(0.1, y, 0.9, y + 0.1)) for text, y in rows]
    other = [written(50, 70, "Boat House", Region.of(0.1, 0.1, 0.9, 0.2)), written(50, 70, "Height: 9 meters")]
    agent = make_agent(toolbox=WorldToolbox(World({"v": (90.0, [*slide, *other])})))
    answer = await ask(agent, "What is the height of the tower?", "v")
    assert answer.answer == "Height: 62 meters"
    assert [citation.quote for citation in answer.citations] == ["Height: 62 meters", "Weather Tower"]
    assert (await ask(agent, "When was the tower built?", "v")).answer == "Built in 1934"
    assert (await ask(agent, "What is the depth of the tower?", "v")).verdict == "not_found"


async def test_the_colour_of_a_detected_thing(make_agent: Make) -> None:
    world = World({"v": (60.0, [shown(10, 20, "yellow moving object"), shown(40, 50, "red moving object")])})
    agent = make_agent(toolbox=WorldToolbox(world, indexed=("speech", "text", "object")))
    answer = await ask(agent, "What color is the moving object at 0:45?", "v")
    assert answer.answer == "red moving object (00:40-00:50)"


async def test_two_questions_get_two_answers(make_agent: Make) -> None:
    answer = await ask(make_agent(), "How deep is the lake and who built the pyramid?", "documentary")
    assert answer.answer == "the lake is forty two meters deep (not found: who built the pyramid?)"
    assert [item.state for item in answer.sub_questions] == ["answered", "not_found"]


async def test_small_text_is_read_in_close_up(make_agent: Make) -> None:
    tiny = Region.of(0.1, 0.9, 0.4, 0.92)
    world = World({"v": (60.0, [written(10, 20, "exit 42", tiny)])})
    toolbox = WorldToolbox(world)
    events = [
        event
        async for event in make_agent(toolbox=toolbox).stream(
            Question(text="What does the sign say?", scope=Scope(video_ids=("v",)))
        )
    ]
    coarse, close = [event for event in events if event.node == "perceive"]
    assert coarse.view is not None
    assert close.view is not None
    assert close.parent == coarse.n
    assert close.view.region is not None
    assert close.view.region.intersect(tiny) == tiny
    assert close.view.short_side > coarse.view.short_side


async def test_a_running_clock_is_not_what_is_written(make_agent: Make) -> None:
    clock = [written(float(second), second + 1.0, f"00:{second:02d}", LINE) for second in range(60)]
    world = World({"v": (60.0, [*clock, said(10, 12, "look at the harvest"), written(15, 20, "Grapes", LINE)])})
    answer = await ask(make_agent(toolbox=WorldToolbox(world)), "What is written right after the harvest is mentioned?")
    assert answer.answer == "Grapes"


async def test_citations_that_are_not_seen_again_are_not_made(make_agent: Make, world: World) -> None:
    ghost = said(250, 254, "the price of bread is two coins")
    toolbox = WorldToolbox(world, ghosts=(("documentary", ghost),))
    answer = await ask(make_agent(toolbox=toolbox), "What is the price of bread?", "documentary")
    assert answer.verdict == "not_found"
    assert answer.citations == ()


async def test_after_a_rejected_citation_the_next_best_is_tried(make_agent: Make, world: World) -> None:
    ghost = said(5, 9, "the lake is ninety meters deep the depth of the lake")
    toolbox = WorldToolbox(world, ghosts=(("documentary", ghost),))
    answer = await ask(make_agent(toolbox=toolbox), "What is the depth of the lake?", "documentary")
    assert answer.answer == "the lake is forty two meters deep"
    assert answer.verdict == "grounded"


async def test_without_the_tool_a_citation_is_unverified(make_agent: Make, world: World) -> None:
    toolbox = WorldToolbox(world, broken={"listen": unavailable("asr")})
    answer = await ask(make_agent(toolbox=toolbox), "How deep is the lake?", "documentary")
    assert answer.answer == "the lake is forty two meters deep"
    assert answer.verdict == "partially_grounded"
    assert [citation.verdict for citation in answer.citations] == ["unverified"]
    assert any("no tool 'asr'" in note for note in answer.notes)


async def test_without_a_vision_language_model_the_answer_says_so(make_agent: Make) -> None:
    world = World({"v": (60.0, [seen(10, 20, "a red canoe"), said(1, 2, "hello there")])})
    toolbox = WorldToolbox(world, indexed=("speech", "text", "object"))
    answer = await ask(make_agent(toolbox=toolbox), "What colour is the canoe?", "v")
    assert answer.verdict == "not_found"
    assert "this profile has no vision-language model" in answer.notes
