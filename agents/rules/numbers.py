"""Spelled numbers: "forty two" is 42, "nineteen sixty nine" is 1969."""

from collections.abc import Sequence


def _ranks(text: str, start: int, step: int = 1) -> dict[str, int]:
    return {word: start + step * index for index, word in enumerate(text.split())}


_ONES = _ranks(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
    0,
)
_TENS = _ranks("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
#: Ordinals that questions count with.
ORDINALS = _ranks("first second third fourth fifth sixth seventh eighth ninth tenth", 1)


def number_at(words: Sequence[str], index: int) -> tuple[str, int] | None:
    """The spelled number that starts at ``index``, as digits, and how many words it takes; None if there is none.

    "one" alone stays a word, for it is mostly a pronoun; two pairs in a row are a year ("nineteen sixty nine").
    """
    total, current, century, position = 0, 0, 0, index
    while position < len(words):
        word = words[position]
        if word in _TENS:
            if current % 100 and current < 100 and not century:
                century, current = current, 0
            elif current % 100:
                break
            current += _TENS[word]
        elif word in _ONES:
            value = _ONES[word]
            if value >= 10 and 10 <= current < 100 and not century:
                century, current = current, 0
            if current % 10 or (current % 100 and value >= 10) or (position > index and words[position - 1] == "zero"):
                break
            current += value
        elif word in _SCALES and position > index:
            if word == "hundred":
                current = max(current, 1) * 100
            else:
                total += max(current, 1) * _SCALES[word]
                current = 0
        elif not (word == "and" and position > index and _joins(words, position)):
            break
        position += 1
    length = position - index
    if length == 0 or (length == 1 and words[index] == "one"):
        return None
    return str(total + century * 100 + current), length


def _joins(words: Sequence[str], position: int) -> bool:
    """Whether the "and" at ``position`` stands inside a number ("two hundred and five")."""
    return (
        words[position - 1] in _SCALES
        and position + 1 < len(words)
        and (words[position + 1] in _TENS or words[position + 1] in _ONES)
    )
