"""How the rules read questions: form, modality, content words and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.question import Question
from agents.rules.clock import seconds, take_times
from agents.rules.plan import finals, plan
from agents.rules.question import parse

# question, form, first kind, content words
READINGS = [
    ("What is the depth of the lake?", "quantity", "speech", "depth lake"),
    ("How deep is the lake?", "quantity", "speech", "deep lake"),
    ("How many moons does Jupiter have?", "quantity", "speech", "moons jupiter"),
    ("How much does a ticket cost?", "quantity", "speech", "ticket cost"),
    ("How fast does the glacier move?", "quantity", "speech", "fast glacier move"),
    ("How old is the bridge?", "quantity", "speech", "old bridge"),
    ("How many people live in the city?", "quantity", "speech", "people live city"),
    ("How many people are visible in the scene?", "count", "object", "people"),
    ("How many faces appear?", "count", "object", "faces"),
    ("How many times is the word rocket mentioned?", "times", "speech", "rocket"),
    ("How often does the speaker say hello?", "times", "speech", "hello"),
    ("When does the speaker mention Apollo?", "when", "speech", "apollo"),
    ("When is the title shown?", "when", "text", ""),
    ("At what time does the sign appear?", "when", "text", ""),
    ("At which point does he talk about money?", "when", "speech", "money"),
    ("When was the bridge built?", "date", "speech", "bridge built"),
    ("In which year was the tower opened?", "date", "speech", "tower opened"),
    ("Who founded the company?", "who", "speech", "founded company"),
    ("Who is speaking?", "who", "text", ""),
    ("Whose name is written on the slide?", "who", "text", ""),
    ("Where is the harbour?", "where", "speech", "harbour"),
    ("Why was the launch delayed?", "why", "speech", "launch delayed"),
    ("How does the engine work?", "how", "speech", "engine work"),
    ("Which city is mentioned?", "which", "speech", "city"),
    ("Is there a face in the video?", "yesno", "object", "face"),
    ("Is the bridge open?", "yesno", "speech", "bridge open"),
    ("Does the speaker mention Mars?", "yesno", "speech", "mars"),
    ("Did the narrator say anything about whales?", "yesno", "speech", "whales"),
    ("Can a dog be seen in the clip?", "yesno", "object", "dog"),
    ("What does the caption say?", "what", "text", ""),
    ("What does the sign read?", "what", "text", ""),
    ("What is written on the board?", "what", "text", ""),
    ("What is written on screen?", "what", "text", ""),
    ("What words are displayed on the screen?", "what", "text", ""),
    ("What on-screen text mentions taxes?", "what", "text", "taxes"),
    ("What does the sign about lunch say?", "what", "text", "lunch"),
    ("What is the title of the talk?", "what", "text", ""),
    ("What does the headline say about the election?", "what", "text", "election"),
    ("What does the speaker say about the sign?", "what", "speech", "sign"),
    ("What does the man say about the sign?", "what", "speech", "sign"),
    ("What did the narrator explain?", "what", "speech", ""),
    ("What can be heard?", "what", "speech", ""),
    ("What colour is the car?", "what", "visual", "colour car"),
    ("What is the woman wearing?", "what", "visual", "woman wearing"),
    ("What does the house look like?", "what", "visual", "house"),
    ("What object is moving?", "what", "object", ""),
    ("What can be seen?", "what", "object", ""),
    ("What is between the tree and the house?", "what", "speech", "tree house"),
    ("Please tell me what the caption says", "what", "text", ""),
    ("the speaker mentions X-rays", "statement", "speech", "x rays"),
    ('the word "ignition" appears', "statement", "text", "ignition"),
]


@pytest.mark.parametrize(("text", "form", "kind", "words"), READINGS, ids=[row[0] for row in READINGS])
def test_form_modality_and_words(text: str, form: str, kind: str, words: str) -> None:
    parsed = parse(text)
    assert (parsed.form, parsed.kinds[0], " ".join(parsed.words)) == (form, kind, words)


# question, main part, relation, near, what it refers to
CLAUSES = [
    ("What is written on screen right after the speaker mentions fish?", "after", True, "the speaker mentions fish"),
    ("What is said immediately before the title appears?", "before", True, "the title appears"),
    ("After the narrator talks about fire, what title is shown?", "after", False, "the narrator talks about fire"),
    ('When the speaker says "hello, you", what is on screen?', "during", False, None),
    ("What can be seen while the speaker talks about birds?", "during", False, "the speaker talks about birds"),
    ("What is on screen when the speaker mentions taxes?", "during", False, "the speaker mentions taxes"),
    ("What does it say as the narrator mentions taxes?", "during", False, "the narrator mentions taxes"),
    ("What is shown once the music stops?", "after", True, "the music stops"),
    ("What is written as soon as he says stop?", "after", True, "he says stop"),
    ("What does she say until the slide appears?", "before", False, "the slide appears"),
    ("What is read following the announcement?", "after", True, "the announcement"),
    ("What is visible at the moment the speaker says go?", "during", False, "the speaker says go"),
    ("What comes right after the word ignition?", "after", True, "the word ignition"),
]


@pytest.mark.parametrize(("text", "relation", "near", "part"), CLAUSES, ids=[row[0] for row in CLAUSES])
def test_temporal_clauses(text: str, relation: str, near: bool, part: str | None) -> None:
    clause = parse(text).clause
    assert clause is not None
    assert (clause.relation, clause.near) == (relation, near)
    assert part is None or clause.parts == (part,)


@pytest.mark.parametrize(
    "text",
    [
        "Which of the following is true?",
        "When does the speaker mention Apollo?",
        'What does "before we go" mean?',
        "What is between the tree and the house?",
        "Who founded the company?",
    ],
)
def test_no_temporal_clause_where_there_is_none(text: str) -> None:
    assert parse(text).clause is None


def test_quoted_words_are_never_split() -> None:
    parsed = parse('What is written after the speaker says "before we go, look up"?')
    assert parsed.clause is not None
    assert parsed.clause.parts == ('the speaker says "before we go, look up"',)
    assert parse(parsed.clause.parts[0]).phrases == ("before we go, look up",)


ANCHORS = [
    ("What does the caption say at 2:10?", "at 130"),
    ("What is shown at 1:02:03?", "at 3723"),
    ("What is said at the 2 minute mark?", "at 120"),
    ("What is said at minute 3?", "at 180"),
    ("What is shown around 2 minutes and 10 seconds?", "at 130"),
    ("What is said between 1:00 and 1:30?", "from 60 to 90"),
    ("What is said from 10 seconds to 20 seconds?", "from 10 to 20"),
    ("What is said after 5 minutes?", "after 300"),
    ("What is written before 0:45?", "before 45"),
    ("What is said in the first minute?", "first 60"),
    ("What is said in the first two minutes?", "first 120"),
    ("What is said in the last 30 seconds of the video?", "last 30"),
    ("What is written in the first half of the video?", "first 50%"),
    ("What is written at the beginning?", "first 10%"),
    ("What is written at the end of the film?", "last 10%"),
    ("What is the first word on screen?", "first"),
    ("What is the last thing the speaker says?", "last"),
    ("What is the second title?", "number 2"),
    ("Which city is mentioned first?", "first"),
    ("When is Mars mentioned for the first time?", "first"),
    ("What does the speaker say in the second after?", None),
    ("Who was the first man on the moon?", None),
    ("The tank lasts 5 minutes. What is it called?", None),
]


@pytest.mark.parametrize(("text", "anchor"), ANCHORS, ids=[row[0] for row in ANCHORS])
def test_clock_and_order(text: str, anchor: str | None) -> None:
    assert plan(Question(text=text))[-1].anchor == anchor


def test_two_steps_become_two_sub_questions() -> None:
    first, second = plan(Question(text="What is written on screen right after the speaker mentions the lighthouse?"))
    assert (first.id, first.kinds, first.query, first.anchor) == ("q1", ("speech",), "lighthouse", None)
    assert (second.kinds, second.query, second.anchor) == (("text",), "", "right after q1")
    assert finals((first, second)) == (second,)


def test_between_refers_to_two_events() -> None:
    items = plan(Question(text="What is said between the mention of Mars and the title Jupiter?"))
    assert [item.anchor for item in items] == [None, None, "between q1 and q2"]


def test_clauses_inside_clauses() -> None:
    items = plan(Question(text="What is written after the slide that appears after the speaker mentions fish?"))
    assert [item.anchor for item in items] == [None, "after q1", "after q2"]


def test_two_questions_in_one() -> None:
    items = plan(Question(text="Who is the pilot and where was she born?"))
    assert [item.text for item in items] == ["Who is the pilot", "where was she born?"]
    assert len(finals(items)) == 2


def test_scope_confines_the_kinds() -> None:
    question = Question.parse({"text": "How deep is the lake?", "scope": {"kinds": ["text"]}})
    assert plan(question)[0].kinds == ("text",)


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    parsed = parse(text)
    assert parsed.kinds
    assert plan(Question(text=text or "?"))


@given(st.floats(0, 35_999).map(lambda value: round(value, 0)))
def test_clock_times_are_read_back(value: float) -> None:
    hours, rest = divmod(int(value), 3600)
    minutes, second = divmod(rest, 60)
    written = f"{hours}:{minutes:02d}:{second:02d}"
    assert seconds(written) == value
    assert take_times(f"What is said at {written}?")[1] == [f"at {value:g}"]
