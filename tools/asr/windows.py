"""Overlapping windows of long speech, stitched together by the words that two neighbours both heard."""

from bisect import bisect_left
from collections.abc import Sequence

from tools.asr import Utterance, Word
from tools.media.span import Span

#: Seconds that neighbouring windows share.
OVERLAP = 2.0
#: Equal words of two windows are the same word if their middles lie this close, in seconds.
_SAME = 0.3
#: Recognisers place a word's edges this exactly, in seconds.
_JITTER = 0.1
#: A pause of this many seconds ends an utterance.
PAUSE = 0.6
#: An utterance that has gone on for this many seconds ends at its next gap between words.
_LONG = 15.0


def windows(span: Span, length: float) -> list[Span]:
    """Windows of equal length, at most ``length`` seconds, that share `OVERLAP` seconds and cover ``span``."""
    if span.duration <= length:
        return [span]
    overlap = min(OVERLAP, length / 3)
    count = len(span.windows(length, overlap=overlap))
    return span.windows((span.duration - overlap) / count + overlap + 1e-9, overlap=overlap)


def stitch(parts: Sequence[tuple[Span, Sequence[Word]]]) -> list[Word]:
    """The words of consecutive overlapping windows as one sequence.

    Args:
        parts: each window and its words, both on one clock, in order of time.
    """
    words: list[Word] = []
    covered: Span | None = None
    for window, heard in parts:
        if covered is None:
            words = list(heard)
        else:
            shared = covered.intersect(window)
            words = _join(words, list(heard), shared.middle if shared else window.start)
        covered = window
    return words


def _join(left: list[Word], right: list[Word], seam: float) -> list[Word]:
    """Both lists as one: they meet at the word nearest to ``seam`` that both have, else at ``seam`` itself."""
    first = bisect_left(left, right[0].span.start - 1, key=lambda word: word.span.end) if right else len(left)
    pairs = [
        (abs(a.span.middle - seam), i, j)
        for i, a in enumerate(left[first:], first)
        for j, b in enumerate(right)
        if a.text == b.text and abs(a.span.middle - b.span.middle) <= _SAME
    ]
    if pairs:
        _, i, j = min(pairs)
        return left[: i + 1] + right[j + 1 :]
    kept = [word for word in left if word.span.middle < seam] + [word for word in right if word.span.middle >= seam]
    # A word at the seam may lie on the wrong side of it in both windows.
    for word in (*left[first:], *right):
        if word not in kept and not any(_clash(word, other) for other in kept):
            kept.append(word)
    return sorted(kept, key=lambda word: (word.span.start, word.span.end))


def _clash(a: Word, b: Word) -> bool:
    return min(a.span.end, b.span.end) - max(a.span.start, b.span.start) > _JITTER


def utterances(words: Sequence[Word]) -> list[Utterance]:
    """Words in order of time, grouped between pauses."""
    groups: list[list[Word]] = []
    for word in words:
        if groups and not _ends(groups[-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    return [Utterance(tuple(group)) for group in groups]


def _ends(group: Sequence[Word], following: Word) -> bool:
    gap = following.span.start - group[-1].span.end
    return gap >= PAUSE or (gap > 0 and group[-1].span.end - group[0].span.start >= _LONG)
