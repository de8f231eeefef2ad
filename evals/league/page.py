"""The league's page in Markdown, from its rows alone."""

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeGuard

from evals.league.entries import BARE, BASELINES, BUDGETS, FULL, SHUFFLED

Row = dict[str, Any]

#: The command that writes the page.
COMMAND = "loupe bench league --out docs"
#: The budget that tables are sorted by.
RANKED_AT = 0.1
_INTRO = f"""# League table

Made by `{COMMAND}`, with [league.json](league.json), which has every figure; a test compares.

Each method is asked the same questions about the same drawn pictures and clips of eight frames, on the same model, in
one run. Pictures and questions are of the test split, which no training saw, and no picture is asked about twice. An
answer counts as right when it is the truth to the letter; decoding is greedy. Methods run with their own defaults; only
`keep` is set, and what a method draws at random it draws anew for every question.

**Accuracy kept** is accuracy relative to that with full tokens, in percent, with its 95 % interval in brackets (paired
bootstrap over questions). Above 100 a method does better than the model without it.

`keep` means what each method says in [methods.md](methods.md), so that equal values need not be equal work: a method
that drops tokens between the decoder's layers works on all of them before. **Tokens** says what was really spent:
visual tokens of a decoder layer, mean over layers, relative to the uncompressed. A method is compared with both
baselines *at the tokens that it spent*, between their budgets if need be: **bold** is better than random choice and
than average pooling, † not better than random choice, ‡ not better than average pooling, where better means that the
95 % interval of the paired difference lies above zero. With intervals this wide, "not better" can be chance.

**Blind** is the model that sees grey frames: what the wording of a question gives away. **Shuffled** is the model that
sees the pictures of a clip in random order: what it can tell without their sequence. **Only what shows something** is
no method: it knows which patches show a shape or a glyph and keeps all of these and no others, or a random part of the
others as well. Where it loses, the model misses the background, whatever is chosen.
"""


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    lines = [_INTRO]
    models = list(dict.fromkeys(row["model"] for row in rows))
    for model in models:
        lines += _section(model, [row for row in rows if row["model"] == model], first=model == models[0])
    return "\n".join(lines).rstrip() + "\n"


def ranked(rows: Sequence[Row]) -> list[str]:
    """Names of the methods that have budgets, the one that keeps most accuracy at `RANKED_AT` first."""
    names = list(dict.fromkeys(row["method"] for row in rows if row["keep"] is not None))

    def place(name: str) -> tuple[float, str]:
        row = find(rows, name, RANKED_AT)
        kept = row.get("kept") if row else None
        return (0.0 if kept is None else -kept), name

    return sorted(names, key=place)


def find(rows: Sequence[Row], name: str, keep: float | None = None) -> Row | None:
    """The row of an entry, if there is one."""
    return next((row for row in rows if row["method"] == name and row["keep"] == keep), None)


def as_published(rows: Sequence[Row]) -> list[Row]:
    """The rows without those of changed methods."""
    return [row for row in rows if not row.get("change")]


def _section(model: str, rows: Sequence[Row], *, first: bool) -> Iterator[str]:
    rows, changed = as_published(rows), [row for row in rows if row.get("change") and _ran(row)]
    names = ranked(rows)
    fixed = [row for row in rows if row["keep"] is None and row["method"] not in BARE and _ran(row)]
    full = _there(rows, FULL)
    yield f"## {model} ({full['host']})"
    yield ""
    if first:
        yield "![Accuracy kept against tokens spent, a panel a method](league.png)"
        yield ""
    yield from _without_methods(rows)
    yield "### Accuracy kept"
    yield ""
    yield from _table(
        ["method", *map(_budget, BUDGETS)],
        [[_name(rows, name), *(_kept(find(rows, name, keep)) for keep in BUDGETS)] for name in names],
    )
    if fixed:
        yield "Methods without a budget, as they are:"
        yield ""
        yield from _table(
            ["method", "accuracy kept", "tokens %", "prefill FLOPs %", "KV %"],
            [
                [_name(rows, row["method"]), _kept(row), *(_percent(row, full, key) for key in _SPENT)]
                for row in sorted(fixed, key=lambda row: -(row.get("kept") or 0.0))
            ],
        )
    yield from _apart(rows, names)
    yield from _spending(rows, names)
    yield from _attention(full)
    yield from _changes(rows, changed)
    yield from _costs(rows, names, fixed)
    yield from _by_task(rows, names, fixed)
    yield from _notes(rows, names)


def _without_methods(rows: Sequence[Row]) -> Iterator[str]:
    full = _there(rows, FULL)
    kinds = ("picture", "clip")
    yield from _table(
        ["accuracy %", *(f"{kind}s" for kind in kinds), "all", "tokens %"],
        [
            [
                name,
                *(_accuracy(row, kind) for kind in kinds),
                "" if name == SHUFFLED else _accuracy(row, ""),
                _percent(row, full, "share"),
            ]
            for name, row in ((name, find(rows, name)) for name in BARE)
            if row
        ],
    )
    asked = [sum(task["questions"] for name, task in full["tasks"].items() if name.startswith(kind)) for kind in kinds]
    tokens = [full["tokens_in"][kind] for kind in kinds]
    yield from _paragraph(
        f"{asked[0]} questions about pictures of {tokens[0]} visual tokens, {asked[1]} about clips of {tokens[1]}. "
        f"{_budget(BUDGETS[-1])} of a picture make {_tokens(max(1, round(BUDGETS[-1] * tokens[0])))}: small budgets "
        "are coarse there."
    )


#: Groups of questions, in words.
_GROUPS = {"pictures": "pictures", "read": "clips, read", "else": "clips, all else"}


def _apart(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    yield f"### Pictures and clips apart, at {_budget(RANKED_AT)}"
    yield ""
    yield from _paragraph(
        "Accuracy kept; read are numbers and words. *Writing seen* is the part of what shows a letter or digit: in a "
        "frame, mean over the clip, and of the places, in one frame at least. Who keeps the best patches of every "
        "frame by itself keeps the same ones in all while little moves; who chooses at random, or against repetition, "
        "has others in every frame and sees more of the writing in a clip than in a frame. What is merged counts as "
        "seen, but need not be legible."
    )
    yield from _table(
        ["method", *_GROUPS.values(), "writing seen in a frame %", "in any %"],
        [
            [
                _name(rows, name),
                *(_interval(row["groups"][group]) for group in _GROUPS),
                *(f"{100 * row[key]:.0f}" for key in ("written_each", "written_once")),
            ]
            for name, row in ((name, find(rows, name, RANKED_AT)) for name in names)
            if _ran(row)
        ],
    )


def _spending(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    full = _there(rows, FULL)
    yield "### What the tokens were spent on"
    yield ""
    yield from _paragraph(
        f"Each cell holds the budgets {_slashes(map(_budget, BUDGETS))}. *Things seen* are the shapes and glyphs, "
        "counted in every frame, of which at least one patch belongs to a token that goes through half of the "
        "decoder's layers; *on things* is the part of the work on visual tokens whose patches show one of them "
        f"({100 * full['spent']:.0f} % without a method: the rest is background)."
    )
    lines = []
    for name in names:
        found = [find(rows, name, keep) for keep in BUDGETS]
        lines.append(
            [
                _name(rows, name),
                *(
                    _slashes(f"{100 * row[key]:.0f}" if _ran(row) else "–" for row in found)
                    for key in ("things", "spent")
                ),
            ]
        )
    yield from _table(["method", "things seen %", "on things %"], lines)


#: What attends in a tower, in words.
_SOURCES = {"cls": "tower's CLS", "received": "tower's patches"}


def _attention(full: Row) -> Iterator[str]:
    found = full["attention"]
    yield "### Where attention lies"
    yield ""
    yield from _paragraph(
        "Of the attention on visual tokens, the part in percent that lies on those which show a shape or a glyph; "
        f"they are {100 * found['shown']:.0f} % of the tokens, mean over looks. Layers are counted from 0. Who ranks "
        "tokens by a layer with a lower figure keeps more background than chance does."
    )
    depth = max(len(found["tower"]), len(found["decoder"]))
    lines = [
        [name, *(f"{100 * part:.0f}" for part in parts), *[""] * (depth - len(parts))]
        for name, parts in (
            (_SOURCES[found["source"]], found["tower"]),
            ("decoder's last token", found["decoder"]),
        )
    ]
    yield from _table(["attention of", *(f"layer {layer}" for layer in range(depth))], lines)


def _changes(rows: Sequence[Row], changed: Sequence[Row]) -> Iterator[str]:
    if not changed:
        return
    yield "### What losses come from"
    yield ""
    yield from _paragraph(
        "Methods that lose more here than their papers report, and what they keep when one thing about them is changed."
    )
    full = _there(rows, FULL)
    lines = []
    for method, keep in dict.fromkeys((row["method"], row["keep"]) for row in changed):
        own = [row for row in changed if (row["method"], row["keep"]) == (method, keep)]
        for row in filter(_ran, (find(rows, method, keep), *own)):
            name = f"`{method}` at {_budget(keep)}" if "change" not in row else ""
            things = f"{100 * row['things']:.0f}"
            change = row.get("change", "as published")
            lines.append([name, change, _kept(row), _percent(row, full, "share"), things])
    yield from _table(["method", "change", "accuracy kept", "tokens %", "things seen %"], lines)


_SPENT = ("share", "prefill_flops", "kv_bytes")


def _costs(rows: Sequence[Row], names: Sequence[str], fixed: Sequence[Row]) -> Iterator[str]:
    full = _there(rows, FULL)
    yield "### Costs"
    yield ""
    yield from _paragraph(
        f"Each cell holds the budgets {_slashes(map(_budget, BUDGETS))}. Tokens are of all questions, "
        f"the rest is of a clip. Without a method a clip costs {full['prefill_flops'] / 1e6:,.0f} million FLOPs of "
        f"prefill (vision tower not counted), {full['kv_bytes'] / 1024:,.0f} KiB of keys and values, and "
        f"{full['first_token_ms']:.1f} ms to the first token, tower included. Compressor is the part of that time that "
        "the method itself takes: before the decoder, in its own functions between layers, and what the tower takes "
        "longer for the signals that it wants. Times are of the machine that league.json names."
    )
    heads = ["method", "tokens %", "prefill FLOPs %", "KV %", "first token ms", "compressor ms"]
    cells: list[Callable[[Row], str]] = [
        *(lambda row, key=key: _percent(row, full, key) for key in _SPENT),
        lambda row: f"{row['first_token_ms']:.0f}",
        lambda row: f"{row['compressor_ms']:.1f}",
    ]
    lines = []
    for name in names:
        found = [find(rows, name, keep) for keep in BUDGETS]
        lines.append(
            [_name(rows, name), *(_slashes(cell(row) if _ran(row) else "–" for row in found) for cell in cells)]
        )
    lines += [[_name(rows, row["method"]), *(cell(row) for cell in cells)] for row in fixed]
    yield from _table(heads, lines)


def _by_task(rows: Sequence[Row], names: Sequence[str], fixed: Sequence[Row]) -> Iterator[str]:
    full = _there(rows, FULL)
    yield f"### By kind of question, at {_budget(RANKED_AT)}"
    yield ""
    most = max(task["questions"] for task in full["tasks"].values())
    yield from _paragraph(
        "First accuracy in percent without a method, then accuracy kept in percent. A cell stands on "
        f"{most} questions at most, so that a single one moves it by {100 / most:.0f} points or more; league.json has "
        "the intervals. – is where full tokens answer nothing."
    )
    for kind in ("picture", "clip"):
        tasks = [name for name in full["tasks"] if name.startswith(kind)]
        lines = []
        for name in BARE:
            row = find(rows, name)
            if row and any(task in row["tasks"] for task in tasks):
                lines.append([f"*{name}*", *(f"*{_right(row, task)}*" for task in tasks)])
        chosen = [find(rows, name, RANKED_AT) for name in names]
        for row in [*chosen, *fixed]:
            if _ran(row):
                shares = [row["tasks"][task]["kept"] for task in tasks]
                lines.append(
                    [_name(rows, row["method"]), *("–" if one is None else f"{100 * one:.0f}" for one in shares)]
                )
        yield from _table([f"{kind}s", *(task.removeprefix(f"{kind} ") for task in tasks)], lines)


def _notes(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    alike = _alike(rows, names)
    noted: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["note"]:
            note = row["note"] if _ran(row) else f"not measured: {row['note'].removeprefix(row['method'] + ': ')}"
            noted.setdefault((row["method"], note), []).extend([row["keep"]] if row["keep"] else [])
    if noted or alike:
        yield "### Notes"
        yield ""
        for same in alike:
            yield (
                f"- {', '.join(f'`{name}`' for name in same)}: alike in every figure but time. What sets them apart, "
                "such as a CLS token or crops of a large still, is not there."
            )
        for (name, note), budgets in noted.items():
            at = f" at {', '.join(map(_budget, budgets))}" if budgets else ""
            yield f"- `{name}`{at}: {note}."
        yield ""


def _alike(rows: Sequence[Row], names: Sequence[str]) -> list[list[str]]:
    """Groups of methods between which no figure but time differs, whatever the budget."""
    groups: dict[str, list[str]] = {}
    for name in names:
        found = [row for row in (find(rows, name, keep) for keep in BUDGETS) if _ran(row)]
        if found:
            figures = [[row[key] for key in ("tasks", "things", "spent", *_SPENT)] for row in found]
            groups.setdefault(repr(figures), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _tokens(number: int) -> str:
    return f"{number} token" if number == 1 else f"{number} tokens"


def _budget(keep: float) -> str:
    return f"{100 * keep:.0f} %"


def _there(rows: Sequence[Row], name: str) -> Row:
    row = find(rows, name)
    assert row is not None, f"a league without {name}"
    return row


def _ran(row: Row | None) -> TypeGuard[Row]:
    return row is not None and "accuracy" in row


def _name(rows: Sequence[Row], name: str) -> str:
    baseline = any(row["method"] == name and row.get("family") == "baseline" for row in rows)
    return f"`{name}` (baseline)" if baseline else f"`{name}`"


def _kept(row: Row | None) -> str:
    """Accuracy kept with its interval and its marks."""
    if not _ran(row) or row["kept"] is None:
        return "–"
    text = _interval(row)
    beats = [row[f"beats_{baseline}"] for baseline in BASELINES]
    if all(beats):
        return f"**{text}**"
    marks = "".join(mark for mark, better in zip("†‡", beats, strict=True) if better is False)
    return f"{text} {marks}".rstrip()


def _interval(kept: Row) -> str:
    if kept["kept"] is None:
        return "–"
    return f"{100 * kept['kept']:.0f} ({100 * kept['low']:.0f}–{100 * kept['high']:.0f})"


def _percent(row: Row, full: Row, key: str) -> str:
    return f"{100 * row[key] / full[key]:.0f}"


def _accuracy(row: Row, kind: str) -> str:
    found = [task for name, task in row["tasks"].items() if name.startswith(kind)]
    asked = sum(task["questions"] for task in found)
    return f"{100 * sum(task['right'] for task in found) / asked:.0f}" if asked else ""


def _right(row: Row, task: str) -> str:
    found = row["tasks"][task]
    return f"{100 * found['right'] / found['questions']:.0f}"


def _slashes(parts: Iterable[str]) -> str:
    return " / ".join(parts)


def _paragraph(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, 120)
    yield ""


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| --- |{' ---: |' * (len(heads) - 1)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"
    yield ""
