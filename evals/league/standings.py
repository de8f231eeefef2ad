"""The rows of the league: what every entry answered, kept, spent and took."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.league.attention import Attention
from evals.league.entries import BARE, BASELINES, FULL, Entry, differences
from evals.league.intervals import Bootstrap, Kept, at_share
from evals.league.measure import Scored, Taken
from evals.league.questions import Question

Row = dict[str, Any]

#: From this share of the tokens on nothing is saved, and there is nothing to compare.
_ALL = 0.995


def standings(
    model: str,
    host: str,
    questions: Sequence[Question],
    scored: Mapping[Entry, Scored],
    taken: Mapping[Entry, Taken],
    refused: Mapping[Entry, str],
    looks_at: Attention,
) -> list[Row]:
    """A row an entry as plain data, in the order of ``scored``, then one for each that was refused.

    ``kept`` is accuracy relative to full tokens on the same questions, ``low`` and ``high`` its 95 % interval;
    ``share`` the visual tokens of a decoder layer relative to the uncompressed; ``beats_random_keep`` and
    ``beats_average_pooling`` whether it is better than that baseline with as many tokens, None where that makes no
    sense; ``things`` and ``spent`` are those of `Coverage`, ``written_each`` and ``written_once`` of `Legible`. These
    two, FLOPs, bytes and milliseconds are those of a clip; ``change`` is there where something about the method is not
    as it is by default; ``tasks`` holds right answers and accuracy kept by task, ``groups`` the same by
    `Question.group`. The row of full tokens has ``attention``. A row without ``accuracy`` is of an entry that was
    refused, for the reason in ``note``.
    """
    bootstrap = Bootstrap([question.task for question in questions])
    full = next(result for entry, result in scored.items() if entry.name == FULL)
    rows: list[Row] = []
    for entry, result in scored.items():
        kept = bootstrap.kept(result.right, full.right & result.asked)
        rows.append(
            {
                "model": model,
                "host": host,
                "method": entry.name,
                "family": entry.method.family if entry.method else "",
                "keep": entry.keep,
                **({"change": entry.change} if entry.change else {}),
                "questions": int(result.asked.sum()),
                "accuracy": round(float(result.right[result.asked].mean()), 4),
                **_written(kept),
                **{f"beats_{one}": _beats(entry, one, scored, bootstrap) for one in BASELINES},
                "share": round(result.share, 4),
                "things": round(result.coverage.things, 4),
                "spent": round(result.coverage.spent, 4),
                "written_each": round(result.legible.each, 4),
                "written_once": round(result.legible.once, 4),
                "prefill_flops": round(result.flops),
                "kv_bytes": round(result.kv_bytes),
                "first_token_ms": round(1000 * taken[entry].first_token, 2),
                "compressor_ms": round(1000 * taken[entry].compressor, 2),
                "note": _note(entry),
                "tokens_in": dict(result.tokens),
                "groups": _parts([question.group for question in questions], result, full, bootstrap),
                "tasks": _parts([question.task for question in questions], result, full, bootstrap),
                **({"attention": _rounded(looks_at)} if entry.name == FULL else {}),
            }
        )
    for entry, why in refused.items():
        change = {"change": entry.change} if entry.change else {}
        rows.append({"model": model, "host": host, "method": entry.name, "keep": entry.keep, **change, "note": why})
    return rows


def _rounded(looks_at: Attention) -> Row:
    return {
        "shown": round(looks_at.shown, 4),
        "source": looks_at.source,
        "tower": [round(part, 4) for part in looks_at.tower],
        "decoder": [round(part, 4) for part in looks_at.decoder],
    }


def _note(entry: Entry) -> str:
    options = ", ".join(f"{name}={value}" for name, value in differences(entry).items())
    return f"not its default, which this host refuses, but {options}" if options else ""


def _parts(names: Sequence[str], result: Scored, full: Scored, bootstrap: Bootstrap) -> dict[str, Row]:
    """By the name that every question has: right answers, and accuracy kept."""
    found = {}
    for name in sorted(set(names)):
        inside = result.asked & (np.array(names) == name)
        if inside.any():
            kept = bootstrap.kept(result.right, full.right, inside)
            found[name] = {"questions": int(inside.sum()), "right": int(result.right[inside].sum()), **_written(kept)}
    return found


def _written(kept: Kept | None) -> Row:
    if kept is None:
        return {"kept": None, "low": None, "high": None}
    return {"kept": round(kept.share, 4), "low": round(kept.low, 4), "high": round(kept.high, 4)}


def _beats(entry: Entry, baseline: str, scored: Mapping[Entry, Scored], bootstrap: Bootstrap) -> bool | None:
    """Whether ``entry`` is better than ``baseline`` would be with as many tokens."""
    result = scored[entry]
    rivals = [other for one, other in scored.items() if one.name == baseline and not one.change]
    if entry.name in (*BARE, *BASELINES) or not rivals or result.share >= _ALL:
        return None
    rivals.append(next(other for one, other in scored.items() if one.name == FULL))
    rival = at_share(result.share, [other.share for other in rivals], np.stack([other.right for other in rivals]))
    return bootstrap.beats(result.right, rival)
