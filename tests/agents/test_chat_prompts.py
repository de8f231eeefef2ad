"""Prompts: the text that goes to the model, pinned, and what the menu lets it choose from."""

import hashlib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.actions import Detect, Finish, Listen, Look, Read, Search, key
from agents.answer import Searched, SubQuestion
from agents.chat.menu import Menu, done_lines, option_lines, part_lines, shorten, video_lines
from agents.chat.prompts import NAMES, hashes, prompt
from agents.chat.replies import (
    ActionReply,
    AnswerReply,
    DecideReply,
    PlanReply,
    ReplyError,
    to_actions,
    to_draft,
    to_sub_questions,
)
from agents.question import Question
from agents.state import Claim, Draft, Looked, State
from tools.evidence import Evidence, Scope
from tools.media.span import Span
from tools.media.video import Video, VideoInfo
from tools.media.view import Region, View

INFO = VideoInfo(
    span=Span.of(0, 120), width=640, height=360, fps=25, video_codec="h264", audio_codec="aac", subtitle_codec=None
)
VIDEO = Video(id="vid", name="talk.mp4", path="/talk.mp4", info=INFO)


def evidence(text: str, start: float, end: float, kind: str = "speech", region: Region | None = None) -> Evidence:
    return Evidence.make(
        video_id="vid",
        kind=kind,
        span=Span.of(start, end),
        text=text,
        score=0.9,
        tool="listen",
        model="m",
        region=region,
    )


SPOKEN = evidence("now we open the red door", 30, 33)
WRITTEN = evidence("EXIT 7:30", 35, 40, "text", Region.of(0.4, 0.4, 0.6, 0.6))
LOOKED = Looked(
    view=View(video_id="vid", span=Span.of(20, 50)), parent=None, tool="listen", sub_question="q1", event=3, found=1
)
STATE = State(
    question=Question(text="What is written on the door?", options=("EXIT", "ENTRANCE")),
    videos=(VIDEO,),
    sub_questions=(
        SubQuestion(
            id="q1", text="When is the door opened?", kinds=("speech",), query="door", state="answered", answer="red"
        ),
        SubQuestion(id="q2", text="What is written?", kinds=("text",), query="written", anchor="after q1"),
    ),
    evidence={"q1": (SPOKEN,)},
    hits={"q2": (WRITTEN,)},
    views=(LOOKED,),
    searched=(Searched(tool="listen", video_id="vid", span=Span.of(20, 50)),),
    draft=Draft(text="red", confidence=0.5, claims=(Claim(text="red", evidence_ids=(SPOKEN.id,)),)),
    missing=frozenset({"look"}),
)


# Golden hashes: a prompt that changes is a new prompt, and its results are to be measured again.
GOLDEN = {
    "system": ("58cde2c6b573bede", set()),
    "plan": ("92c6c4bba91ccec6", {"question", "options", "videos", "times"}),
    "decide": (
        "317357f7ec2bea0f",
        {"question", "options", "parts", "draft", "evidence", "segments", "done", "tools", "budget", "max_actions"},
    ),
    "answer": ("b6da4d110341ac03", {"question", "options", "parts", "evidence"}),
    "repair": ("67651a22533550a8", {"error"}),
}


@pytest.mark.parametrize("name", NAMES)
def test_prompt_is_the_one_that_was_reviewed(name: str) -> None:
    digest, fields = GOLDEN[name]
    assert prompt(name).fields() == fields
    assert hashes()[name][:16] == digest


def test_every_prompt_file_is_known() -> None:
    files = {path.name.removesuffix(".md") for path in resources.files("agents").joinpath("prompts").iterdir()}
    assert files == set(NAMES) == set(GOLDEN)
    for name in NAMES:
        content = resources.files("agents").joinpath("prompts", f"{name}.md").read_bytes()
        assert hashes()[name] == hashlib.sha256(content).hexdigest()


@given(value=st.text())
def test_values_are_never_searched_for_fields(value: str) -> None:
    assert prompt("repair").render(error=value + "{error}").count(value + "{error}") >= 1


def test_missing_or_unknown_fields_are_errors() -> None:
    with pytest.raises(KeyError):
        prompt("repair").render()
    with pytest.raises(KeyError):
        prompt("repair").render(error="x", other="y")


def test_the_menu_in_words() -> None:
    menu = Menu.of(STATE)
    assert menu.evidence == {"e1": SPOKEN, "e2": WRITTEN}
    assert menu.evidence_lines().splitlines() == [
        "- e1: speech, v1 00:30-00:33, by listen: <<<now we open the red door>>>",
        "- e2: text, v1 00:35-00:40, by listen, has a box: <<<EXIT 7:30>>>",
    ]
    assert menu.segment_lines().splitlines()[:6] == [
        "- s1: v1 00:33-01:03, right after e1",
        "- s2: v1 00:00-00:30, right before e1",
        "- s3: v1 00:20-00:35, first half of 00:20-00:50",
        "- s4: v1 00:35-00:50, second half of 00:20-00:50",
        "- s5: v1 00:28-00:34, around e1",
        "- s6: v1 00:34-00:40, around e2",
    ]
    assert video_lines([VIDEO]) == "- v1: <<<talk.mp4>>>, 02:00 long"
    assert option_lines(()) == "- none"
    assert option_lines(("x", "y")) == "- A: <<<x>>>\n- B: <<<y>>>"
    assert part_lines(STATE).splitlines() == [
        "- q1 (answered): <<<When is the door opened?>>> so far: <<<red>>>",
        "- q2 (open, after q1): <<<What is written?>>>",
    ]
    assert done_lines(STATE) == "- listen 00:20-00:50"


def test_what_was_perceived_stands_for_the_hit_that_led_to_it() -> None:
    hit = SPOKEN.model_copy(update={"tool": "search"})
    state = State(question=STATE.question, videos=(VIDEO,), evidence={"q1": (SPOKEN,)}, hits={"q1": (WRITTEN, hit)})
    assert list(Menu.of(state).evidence.values()) == [SPOKEN, WRITTEN]


def test_a_segment_inside_an_earlier_look_is_its_child() -> None:
    menu = Menu.of(STATE)
    assert menu.segments["s3"].parent(STATE) == LOOKED.view.id
    assert menu.segments["s1"].parent(STATE) is None


def test_segments_stay_in_the_scope() -> None:
    scope = Scope(video_ids=("vid",), span=Span.of(32, 36))
    state = State(question=Question(text="x", scope=scope), videos=(VIDEO,), evidence={"q1": (SPOKEN, WRITTEN)})
    segments = Menu.of(state).segments.values()
    assert segments
    assert all(Span.of(32, 36).hull(segment.span) == Span.of(32, 36) for segment in segments)


def test_many_videos_are_offered_whole_and_the_menu_stays_short() -> None:
    videos = tuple(VIDEO.model_copy(update={"id": f"v{i}"}) for i in range(100))
    many = tuple(evidence(f"word {i}", i, i + 1) for i in range(100))
    menu = Menu.of(State(question=Question(text="x"), videos=videos, evidence={"q1": many}))
    assert len(menu.evidence) == 40
    assert len(menu.segments) == 32


def test_material_cannot_close_its_fence() -> None:
    assert shorten("a >>> ignore <<< b\n\nc") == "a ignore b c"
    assert len(shorten("x" * 1000)) == 240


def test_plan_takes_clock_times_from_the_question_only() -> None:
    def plan(when: str) -> str | None:
        parts = [{"text": "a", "kinds": ["speech"]}, {"text": "b", "kinds": ["text", "text"], "when": when}]
        made = to_sub_questions(PlanReply.model_validate({"sub_questions": parts}), {"t1": "at 130"})
        assert made[1].kinds == ("text",)
        assert made[1].query == "b"
        return made[1].anchor

    assert plan("") is None
    assert plan("Right after q1, t1, last") == "right after q1, at 130, last"
    for bad in ("at 130", "after q2", "after q3", "between q0 and q1", "t2", "when the bell rings"):
        with pytest.raises(ReplyError):
            plan(bad)


def act(**fields: str) -> object:
    (action,) = to_actions(DecideReply(actions=[ActionReply.model_validate(fields)]), Menu.of(STATE), STATE)
    return action


def test_actions_are_built_from_the_menu() -> None:
    around = Span.of(34.5, 40.5)
    read = act(tool="read", sub_question="q2", segment="s6", where="e2", rate="dense", size="large", reason="near")
    assert isinstance(read, Read)
    assert read.view.span == around
    assert (read.view.fps, read.view.short_side) == (4.0, 960)
    assert read.view.region == Region.of(0.4, 0.4, 0.6, 0.6).pad(0.1)
    assert read.parent == LOOKED.view.id
    assert act(tool="finish", reason="enough") == Finish(reason="enough")
    assert act(tool="search", query="door") == Search(query="door")
    assert act(tool="search", query="door", segment="s6") == Search(
        query="door", scope=Scope(video_ids=("vid",), span=around)
    )
    listen = act(tool="listen", segment="s3", where="left")
    assert isinstance(listen, Listen)
    assert listen.view.region is None
    assert listen.parent == LOOKED.view.id
    detect = act(tool="detect", segment="s1", query="face, red door,", where="center", rate="sparse")
    assert isinstance(detect, Detect)
    assert detect.labels == ("face", "red door")
    assert detect.view.fps == pytest.approx(8 / 30)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tool": "read"}, "needs a segment"),
        ({"tool": "read", "segment": "s99"}, "no segment 's99'"),
        ({"tool": "read", "segment": "s1", "where": "e1"}, "no place"),
        ({"tool": "read", "segment": "s1", "where": "e9"}, "no place"),
        ({"tool": "read", "segment": "s1", "sub_question": "q9"}, "no part 'q9'"),
        ({"tool": "look", "segment": "s1", "query": "what?"}, "not available"),
    ],
)
def test_actions_off_the_menu_are_refused_with_the_reason(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ReplyError, match=said):
        act(**fields)


def test_what_was_done_is_not_done_again() -> None:
    from dataclasses import replace

    reply = DecideReply(actions=[ActionReply(tool="search", query="door"), ActionReply(tool="listen", segment="s1")])
    menu = Menu.of(STATE)
    first, second = to_actions(reply, menu, STATE)
    assert to_actions(reply, menu, replace(STATE, done=frozenset({key(first)}))) == (second,)
    with pytest.raises(ReplyError, match="done before"):
        to_actions(reply, menu, replace(STATE, done=frozenset({key(first), key(second)})))


def test_look_needs_a_question() -> None:
    from dataclasses import replace

    state = replace(STATE, missing=frozenset())
    menu = Menu.of(state)
    with pytest.raises(ReplyError, match="question about the pictures"):
        to_actions(DecideReply(actions=[ActionReply(tool="look", segment="s1")]), menu, state)
    (look,) = to_actions(DecideReply(actions=[ActionReply(tool="look", segment="s1", query="what?")]), menu, state)
    assert isinstance(look, Look)
    assert look.question == "what?"


GOOD = {
    "found": True,
    "answer": "It says EXIT 7:30 [e2].",
    "option": "a)",
    "claims": [{"text": "EXIT", "evidence": ["e2", "e2", "e1"], "sub_question": "q2"}],
    "confidence": 0.7,
}


def draft(**changes: object) -> Draft:
    reply = AnswerReply.model_validate(GOOD | changes)
    return to_draft(reply, Menu.of(STATE), STATE.question, ["q1", "q2"])


def test_answers_cite_evidence_and_get_their_times_from_it() -> None:
    made = draft()
    assert made.text == "It says EXIT 7:30 (at 00:35)."
    assert made.option == "A"
    assert made.confidence == 0.7
    assert made.claims == (Claim(text="EXIT", evidence_ids=(WRITTEN.id, SPOKEN.id), sub_question="q2"),)
    assert draft(found=False) == Draft(confidence=0.7)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"claims": [{"text": "x", "evidence": ["e9"]}]}, "no evidence e9"),
        ({"claims": [{"text": "x", "evidence": [SPOKEN.id]}]}, "no evidence"),
        ({"answer": "It says EXIT [e7]."}, "no evidence e7"),
        ({"claims": []}, "at least one claim"),
        ({"answer": " "}, "needs a text"),
        ({"option": "C"}, "no option 'C'"),
        ({"option": None}, "choose an option"),
        ({"answer": "At 0:35 it says EXIT."}, "'0:35' is a time of your own"),
        ({"answer": "EXIT, 12 seconds later."}, "'12 seconds' is a time of your own"),
        ({"claims": [{"text": "EXIT at 1:02:03", "evidence": ["e2"]}]}, "'1:02:03' is a time of your own"),
    ],
)
def test_answers_without_proof_are_refused_with_the_reason(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ReplyError, match=said):
        draft(**changes)
