"""Words, their dimensions and their weights."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.evidence import KINDS, Evidence, Scope
from tools.media.span import Span
from tools.store import points, sparse


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("T-minus 10, 9 ... LIFT-OFF!", ["t", "minus", "10", "9", "lift", "off"]),
        ("Café Zürich NAÏVE Straße", ["cafe", "zurich", "naive", "strasse"]),
        ("ﬁne Ｆｕｌｌ ①", ["fine", "full", "1"]),
        ("月面着陸 Apollo 11", ["月面", "面着", "着陸", "apollo", "11"]),
        ("字", ["字"]),
        ("snake_case a.b", ["snake", "case", "a", "b"]),
        ("привет мир", ["привет", "мир"]),
        ("", []),
        ("?! —", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert sparse.words(text) == words


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_quick_way_for_ascii_gives_the_same(text: str) -> None:
    # A letter from elsewhere sends the whole text the slow way.
    assert sparse.words(text) == sparse.words(f"{text} ж")[:-1]


@given(st.text(max_size=200))
def test_vectors_are_sorted_unique_and_positive(text: str) -> None:
    for dimensions, values in (sparse.document(text), sparse.query(text)):
        assert dimensions == sorted(set(dimensions))
        assert all(0 <= dimension < 2**32 for dimension in dimensions)
        assert len(values) == len(dimensions)
        assert all(0 < value < sparse.K1 + 1 for value in values)


def test_more_often_counts_more_and_longer_counts_less() -> None:
    once = dict(zip(*sparse.document("rocket pad"), strict=True))
    twice = dict(zip(*sparse.document("rocket rocket"), strict=True))
    among = dict(zip(*sparse.document("rocket " + "pad " * 30), strict=True))
    dimension = sparse.index("rocket")
    assert twice[dimension] > once[dimension] > among[dimension]
    # A text of average length that holds a word once gives it weight 1.
    average = dict(zip(*sparse.document("rocket " + "pad " * 11), strict=True))
    assert average[dimension] == pytest.approx(1)


def test_dimensions_are_the_same_in_every_process() -> None:
    root = Path(__file__).parents[3]
    script = "from tools.store import sparse; print(sparse.index('rocket'), sparse.index('月面'))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(sparse.index("rocket")), str(sparse.index("月面"))]


_seconds = st.floats(0, 1e5, allow_nan=False)


@given(
    video=st.text(max_size=20),
    kind=st.sampled_from(KINDS),
    start=_seconds,
    length=_seconds,
    text=st.text(max_size=50),
    score=st.floats(0, 1),
)
def test_payloads_keep_evidence(video: str, kind: str, start: float, length: float, text: str, score: float) -> None:
    evidence = Evidence.make(
        video_id=video, kind=kind, span=Span.of(start, start + length), text=text, score=score, tool="t", model="m"
    )
    assert points.evidence(points.payload(evidence)) == evidence
    assert points.point_id(evidence.id).hex == evidence.id


@settings(max_examples=300)
@given(*[st.integers(0, 4)] * 4)
def test_the_filter_of_a_span_is_overlap(a: int, b: int, c: int, d: int) -> None:
    clip, scope = Span.of(min(a, b), max(a, b)), Span.of(min(c, d), max(c, d))

    def _holds(condition: dict) -> bool:
        if "should" in condition:
            return any(_holds(each) for each in condition["should"])
        value = {"start": clip.start, "end": clip.end}[condition["key"]]
        compare = {"lt": value.__lt__, "lte": value.__le__, "gt": value.__gt__, "gte": value.__ge__}
        return all(compare[name](limit) for name, limit in condition["range"].items())

    assert all(map(_holds, points.scope_filter(Scope(span=scope))["must"])) == clip.overlaps(scope)
