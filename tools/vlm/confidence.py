"""How sure the model was, 0..1."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from tools.vlm.host import Host

_OPTION = re.compile(r"(?:^|\s|\()([A-H])[.):](?=\s|\w)")


def confidence(host: Host, question: str, text: str, chances: Sequence[float], first: Tensor | None) -> float:
    """The geometric mean of the probabilities of the generated tokens (without the one that ends the answer).

    An answer to a question that offers options (``A. ...  B. ...``), or an answer of yes or no, gets instead the
    probability of its first token among those of all options, which is comparable between questions.

    A checkpoint whose config has a ``confidence_temperature`` (fitted so that these numbers are how often it is right)
    gets its probabilities at that temperature, and their product instead of their mean: its answers are as short as
    those of its training, and a word of which one letter is guessed is a guess.

    Args:
        chances: probabilities of the generated tokens.
        first: log-probabilities ``[V]`` of the first generated token.
    """
    if first is not None:
        share = _among(host, _choices(question, text), text, first)
        if share is not None:
            return share
    if not chances:
        return 0.0
    if host.calibrated:
        return math.prod(chances)
    logs = [math.log(max(chance, 1e-30)) for chance in chances]
    return math.exp(sum(logs) / len(logs))


def _choices(question: str, text: str) -> list[str]:
    letters = list(dict.fromkeys(_OPTION.findall(question)))
    if len(letters) >= 2 and letters == [chr(ord("A") + place) for place in range(len(letters))]:
        return letters
    return ["yes", "no"] if re.match(r"(yes|no)\b", text, re.IGNORECASE) else []


def _among(host: Host, choices: list[str], text: str, first: Tensor) -> float | None:
    match = re.match(r"\W*(\w+)", text)
    word = match.group(1) if match else ""
    picked = [choice for choice in choices if choice.casefold() == word.casefold()]
    if not picked:
        return None
    begins = {choice: _first_tokens(host, choice) for choice in choices}
    # A token with which two choices begin (a lone space, say) does not tell them apart.
    counts = Counter(token for tokens in begins.values() for token in tokens)
    own = {choice: [token for token in tokens if counts[token] == 1] for choice, tokens in begins.items()}
    if not all(own.values()):
        return None
    shares = {choice: sum(float(first[token].exp()) for token in tokens) for choice, tokens in own.items()}
    total = sum(shares.values())
    return shares[picked[0]] / total if total > 0 else None


def _first_tokens(host: Host, choice: str) -> set[int]:
    """Tokens with which an answer that names ``choice`` may begin."""
    forms = {form for base in {choice, choice.capitalize()} for form in (base, f" {base}")}
    return {host.tokenizer.encode(form, add_special_tokens=False)[0] for form in forms}
