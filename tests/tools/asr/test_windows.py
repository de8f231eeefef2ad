"""Laws of windows, stitching and utterances."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tools.asr import Word
from tools.asr.windows import OVERLAP, PAUSE, stitch, utterances, windows
from tools.media.span import Span

lengths = st.floats(5.0, 20.0)
spans = st.builds(lambda start, length: Span.of(start, start + length), st.floats(0, 5000), st.floats(0.01, 300))


@given(spans, lengths)
def test_windows_cover_the_span_and_share_the_overlap(span: Span, length: float) -> None:
    found = windows(span, length)
    assert found[0].start == span.start
    assert abs(found[-1].end - span.end) < 1e-6
    assert all(window.duration <= length + 1e-6 for window in found)
    for left, right in itertools.pairwise(found):
        assert abs(left.end - right.start - min(OVERLAP, length / 3)) < 1e-6
    assert len(found) == 1 or max(w.duration for w in found) - min(w.duration for w in found) < 1e-3


def lay_out(shapes: list[tuple[int, int, int]]) -> list[Word]:
    """Words of 0.1-0.6 s, often without a gap, out of few texts so that neighbours repeat."""
    time, words = 0.0, []
    for number, (letter, tenths, gap) in enumerate(shapes):
        length = tenths / 10
        words.append(Word("abc"[letter] + str(number % 5), Span.of(time, time + length), 0.5))
        time += length + (0.0, 0.0, 0.0, 0.2, 1.0, 4.0)[gap]
    return words


def speech() -> st.SearchStrategy[list[Word]]:
    """Up to half a minute of words."""
    shape = st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(0, 5))
    return st.lists(shape, max_size=50).map(lay_out)


def heard(words: list[Word], window: Span, jitter: list[float]) -> list[Word]:
    """What a recogniser that only gets whole words right hears, its times a little off."""
    inside = [word for word in words if word.span.start >= window.start and word.span.end <= window.end]
    return [
        Word(word.text, word.span.shift(jitter[index % len(jitter)]), word.score) for index, word in enumerate(inside)
    ]


@given(speech(), lengths, st.lists(st.floats(-0.04, 0.04), min_size=1, max_size=7))
def test_stitching_gives_every_word_once(words: list[Word], length: float, jitter: list[float]) -> None:
    if not words:
        assert stitch([]) == []
        return
    whole = Span.of(words[0].span.start, words[-1].span.end)
    parts = [(window, heard(words, window, jitter)) for window in windows(whole, length)]
    assert [word.text for word in stitch(parts)] == [word.text for word in words]


@given(speech(), lengths)
def test_wrong_words_at_the_edges_do_not_disturb_the_order(words: list[Word], length: float) -> None:
    if not words:
        return
    whole = Span.of(words[0].span.start, words[-1].span.end)
    parts = []
    for window in windows(whole, length):
        inside = heard(words, window, [0.0])
        cut = [word for word in words if word.span.start < window.start < word.span.end]
        parts.append((window, [Word("garbled", Span.of(window.start, w.span.end), 0.1) for w in cut] + inside))
    starts = [word.span.start for word in stitch(parts)]
    assert starts == sorted(starts)


def test_one_window_is_left_as_it_is() -> None:
    words = [Word("a", Span.of(0, 1), 1.0), Word("a", Span.of(1, 2), 1.0)]
    assert stitch([(Span.of(0, 5), words)]) == words


@given(speech())
def test_utterances_keep_all_words_and_part_at_pauses(words: list[Word]) -> None:
    groups = utterances(words)
    assert [word for group in groups for word in group.words] == words
    for group in groups:
        gaps = [b.span.start - a.span.end for a, b in zip(group.words, group.words[1:], strict=False)]
        assert all(gap < PAUSE for gap in gaps)
