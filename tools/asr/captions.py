"""Subtitles as utterances."""

from tools.asr import Utterance, Word
from tools.media.span import Span
from tools.media.subtitles import Subtitle


def as_utterance(subtitle: Subtitle) -> Utterance:
    """The subtitle's words, each with a share of its time by the number of letters; every score is 1."""
    texts = subtitle.text.split()
    letters = sum(len(text) + 1 for text in texts)
    words, before = [], 0
    for text in texts:
        after = before + len(text) + 1
        start, end = (subtitle.span.start + subtitle.span.duration * count / letters for count in (before, after))
        words.append(Word(text=text, span=Span.of(start, end), score=1.0))
        before = after
    return Utterance(tuple(words))
