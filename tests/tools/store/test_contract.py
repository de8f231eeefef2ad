"""What every store obeys: one suite over all backends of the registry."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tools.errors import StoreError
from tools.evidence import Evidence, Kind, Scope
from tools.media.span import Span
from tools.media.view import Region, View
from tools.store import BACKENDS, Clip, Query, Store

TEXT_DIM, VISUAL_DIM = 16, 8
RNG = np.random.default_rng(7)

Open = Callable[..., Store]


@pytest.fixture(params=BACKENDS.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store(name: str, open_store: Open) -> Store:
    return open_store(name)


def unit(size: int, axis: int | None = None) -> np.ndarray:
    vector = np.eye(size, dtype=np.float32)[axis] if axis is not None else RNG.normal(size=size).astype(np.float32)
    return vector / np.linalg.norm(vector)


def make(
    text: str = "hello",
    *,
    video: str = "v1",
    kind: Kind = "speech",
    start: float = 0.0,
    end: float = 1.0,
    axis: int | None = None,
    visual: int | None = None,
) -> Clip:
    evidence = Evidence.make(
        video_id=video, kind=kind, span=Span.of(start, end), text=text, score=0.5, tool="asr", model="m"
    )
    return Clip(
        evidence,
        None if axis is None else unit(TEXT_DIM, axis),
        None if visual is None else unit(VISUAL_DIM, visual),
    )


def texts(found: list[Evidence]) -> list[str]:
    return [evidence.text for evidence in found]


def test_evidence_comes_back_as_it_was(store: Store) -> None:
    view = View(video_id="v1", span=Span.of(0, 2), fps=2, region=Region.of(0, 0, 0.5, 0.5), short_side=100)
    whole = Evidence.make(
        video_id="v1",
        kind="text",
        span=Span.of(0.1, 1 / 3),
        text="Zeile „1“\n日本\x00語",
        score=0.123456789,
        tool="ocr",
        model="rapidocr",
        region=Region.of(0.1, 0.2, 1 / 3, 0.4),
        view=view,
    )
    own_id = whole.model_copy(update={"id": "made-by-hand", "span": Span.of(5, 5), "region": None, "view": None})
    store.upsert([Clip(own_id), Clip(whole, unit(TEXT_DIM), unit(VISUAL_DIM))])
    assert store.list(Scope()) == [whole, own_id]


def test_indexing_twice_changes_nothing(store: Store) -> None:
    clips = [make(f"t{i}", start=i, end=i + 1, axis=i) for i in range(5)]
    store.upsert(clips)
    before = store.list(Scope())
    store.upsert(clips)
    store.upsert([*clips, *clips])
    assert store.list(Scope()) == before
    assert store.count() == 5


def test_a_known_id_is_replaced(store: Store) -> None:
    old, other = make("alpha", axis=0), make("alpha", axis=1)
    store.upsert([old])
    store.upsert([other])
    assert store.count() == 1
    store.upsert([make("beta", axis=0)])
    assert texts(store.query(Query(text_vector=unit(TEXT_DIM, 1)))) == ["alpha", "beta"]
    store.upsert([old, other])
    assert texts(store.query(Query(text_vector=unit(TEXT_DIM, 0))))[0] == "beta"


def test_nothing_in_nothing_out(store: Store) -> None:
    store.upsert([])
    assert store.count() == 0
    assert store.list(Scope()) == []
    assert store.query(Query(text="a", text_vector=unit(TEXT_DIM))) == []
    assert store.delete_video("v1") == 0


def test_each_part_ranks(store: Store) -> None:
    store.upsert(
        [
            make("the rocket engine burns", start=0, axis=0, visual=0),
            make("a quiet garden", start=1, end=2, axis=1, visual=1),
            make("", start=2, end=3, kind="visual", visual=2),
            make("rocket", start=3, end=4, kind="text"),
        ]
    )
    assert texts(store.query(Query(text="Garden?"))) == ["a quiet garden"]
    assert texts(store.query(Query(text="ROCKET")))[0] == "rocket"
    assert texts(store.query(Query(text_vector=unit(TEXT_DIM, 1))))[0] == "a quiet garden"
    assert store.query(Query(visual_vector=unit(VISUAL_DIM, 2)))[0].kind == "visual"
    assert store.query(Query(text="submarine")) == []
    # Words that carry nothing find nothing, unless there are no others.
    assert texts(store.query(Query(text="what is the garden"))) == ["a quiet garden"]
    assert texts(store.query(Query(text="the"))) == ["the rocket engine burns"]
    assert store.query(Query(text="?!")) == []


def test_fusion_prefers_what_all_parts_like(store: Store) -> None:
    store.upsert(
        [
            make("apple", start=0, axis=0, visual=0),
            make("banana", start=1, end=2, axis=1, visual=0),
            make("banana apple", start=2, end=3, axis=0, visual=1),
        ]
    )
    found = store.query(Query(text="apple", text_vector=unit(TEXT_DIM, 0), visual_vector=unit(VISUAL_DIM, 0), limit=3))
    assert found[0].text == "apple"
    assert found[0].score > 0.98
    assert len(found) == 3


def test_scores_fall_from_at_most_one(store: Store) -> None:
    store.upsert([make(f"word{i % 3} common", start=i, end=i + 1, axis=i % TEXT_DIM) for i in range(40)])
    found = store.query(Query(text="word1 common", text_vector=unit(TEXT_DIM), limit=25))
    scores = [evidence.score for evidence in found]
    assert len(found) == 25
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert texts(store.query(Query(text="word1 common", limit=3))) == ["word1 common"] * 3


def test_the_same_query_has_the_same_answer(store: Store) -> None:
    # Half of the clips are equally good: only a fixed order of equals makes the cut the same each time.
    store.upsert([make(f"same word {i}", start=i, end=i + 1, axis=i % 2) for i in range(40)])
    query = Query(text="same", text_vector=unit(TEXT_DIM, 0), limit=7)
    first = store.query(query)
    assert len(first) == 7
    assert all(store.query(query) == first for _ in range(3))


def test_a_query_is_confined_to_its_scope(store: Store) -> None:
    for video in ("v1", "v2", "v3"):
        store.upsert([make("word", video=video, start=i, end=i + 1, axis=0) for i in range(5)])
        store.upsert([make("word", video=video, kind="text", start=1, end=3, axis=0)])
    scope = Scope(video_ids=("v2", "v3", "v2"), span=Span.of(2, 4), kinds=("speech",))
    for query in (
        Query(text="word", scope=scope, limit=50),
        Query(text_vector=unit(TEXT_DIM, 0), scope=scope, limit=50),
    ):
        found = {(e.video_id, e.kind, e.span.start) for e in store.query(query)}
        assert found == {(video, "speech", start) for video in ("v2", "v3") for start in (2.0, 3.0)}
    assert store.count(scope) == len(store.list(scope)) == 4
    assert store.count(Scope(kinds=("text",))) == 3
    assert store.count(Scope(video_ids=("v9",))) == 0


def test_spans_overlap_as_spans_do(store: Store) -> None:
    grid = [0.0, 1.0, 1.5, 2.0, 3.0]
    spans = [Span.of(a, b) for a in grid for b in grid if a <= b]
    store.upsert([make("x", start=span.start, end=span.end) for span in spans])
    for scope in spans:
        want = sorted((s.start, s.end) for s in spans if s.overlaps(scope))
        assert [(e.span.start, e.span.end) for e in store.list(Scope(span=scope))] == want, scope


def test_a_query_without_parts_lists_in_order_of_time(store: Store) -> None:
    store.upsert([make(f"t{i}", start=i, end=i + 1) for i in (2, 0, 1)])
    found = store.query(Query(limit=2))
    assert texts(found) == ["t0", "t1"]
    assert [evidence.score for evidence in found] == [0, 0]


def test_limits(store: Store) -> None:
    store.upsert([make("w", start=i, end=i + 1, axis=0) for i in range(5)])
    for limit, count in ((0, 0), (-1, 0), (3, 3), (99, 5)):
        assert len(store.list(Scope(), limit)) == count
        assert len(store.query(Query(text="w", limit=limit))) == count


def test_order_of_time_across_pages_with_many_equal_starts(store: Store) -> None:
    clips = [
        make(f"t{i}", video=f"v{i % 2}", start=float(i // 700), end=float(i // 700 + i % 3), kind="text")
        for i in range(1500)
    ]
    random.Random(1).shuffle(clips)
    store.upsert(clips)
    want = sorted((c.evidence for c in clips), key=lambda e: (e.video_id, e.span.start, e.span.end, e.id))
    assert store.list(Scope(), 10_000) == want
    assert store.list(Scope(), 777) == want[:777]
    assert store.list(Scope(video_ids=("v1",)), 10) == [e for e in want if e.video_id == "v1"][:10]


def test_delete_a_video(store: Store) -> None:
    store.upsert([make("word", video=v, start=i, end=i + 1, axis=0) for v in ("a", "b") for i in range(6)])
    assert store.delete_video("a") == 6
    assert store.delete_video("a") == 0
    assert store.count() == 6
    assert {e.video_id for e in store.query(Query(text="word", text_vector=unit(TEXT_DIM, 0), limit=20))} == {"b"}
    store.upsert([make("word", video="a", axis=0)])
    assert store.count(Scope(video_ids=("a",))) == 1


def test_a_vector_of_another_length_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match=r"shape \(16,\), not \(3,\)"):
        store.upsert([Clip(make().evidence, unit(3))])
    with pytest.raises(ValueError, match=r"visual vector"):
        store.query(Query(visual_vector=unit(TEXT_DIM)))
    assert store.count() == 0


def test_a_store_without_pictures(name: str, open_store: Open) -> None:
    store = open_store(name, visual_dim=None)
    store.upsert([make("a", axis=0)])
    assert texts(store.query(Query(text="a", text_vector=unit(TEXT_DIM, 0)))) == ["a"]
    with pytest.raises(ValueError, match="holds no visual vectors"):
        store.upsert([make("a", visual=0)])


def test_threads(store: Store) -> None:
    def _write(part: int) -> None:
        for i in range(10):
            store.upsert([make(f"w{part} {i} {j}", video=f"v{part}", start=i, end=i + j, axis=j) for j in range(5)])

    def _read(_: int) -> None:
        for _ in range(10):
            found = store.query(Query(text="w1", text_vector=unit(TEXT_DIM), limit=5))
            assert len(found) <= 5
            store.list(Scope(video_ids=("v0",)), 20)

    with ThreadPoolExecutor(6) as pool:
        for job in [pool.submit(_write, i) for i in range(3)] + [pool.submit(_read, i) for i in range(3)]:
            job.result()
    assert store.count() == 150


def test_a_closed_store_says_so(store: Store) -> None:
    store.upsert([make()])
    store.close()
    store.close()
    for use in (lambda: store.count(), lambda: store.upsert([make()]), lambda: store.query(Query(text="hello"))):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_all_backends_rank_alike(open_store: Open) -> None:
    stores = [open_store(name) for name in BACKENDS.names()]
    rng = np.random.default_rng(3)
    words = ["rocket", "engine", "moon", "crew", "fuel", "orbit", "dock", "launch", "tank", "suit"]
    clips = []
    for i in range(300):
        # Lengths differ, so that no two clips have one BM25 score.
        said = " ".join([*rng.choice(words, 3 + i % 7), f"n{i}", *(["pad"] * (i % 11))])
        made = make(said, video=f"v{i % 4}", start=i, end=i + 1)
        vectors = [rng.normal(size=size).astype(np.float32) for size in (TEXT_DIM, VISUAL_DIM)]
        clips.append(Clip(made.evidence, *[v / np.linalg.norm(v) for v in vectors]))
    for store in stores:
        store.upsert(clips)
    for i in range(10):
        query = Query(
            text=" ".join(rng.choice(words, 2)) if i % 2 else "",
            text_vector=unit(TEXT_DIM),
            visual_vector=unit(VISUAL_DIM) if i % 3 else None,
            scope=Scope(video_ids=("v1", "v2")) if i % 5 else Scope(),
            limit=8,
        )
        answers = [[(e.id, pytest.approx(e.score, abs=0.02)) for e in store.query(query)] for store in stores]
        ids = [{id for id, _ in answer} for answer in answers]
        for other in ids[1:]:
            assert len(ids[0] & other) >= 7, query
