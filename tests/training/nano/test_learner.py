"""What is trained on is what the engine sees: layouts, logits, labels and losses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from evals.synth.scenes import CLASSES, Sample, Scenes, Turn
from evals.synth.scenes.asking import plural
from evals.synth.scenes.vocabulary import CLASS_OF, SHAPES, pair_split, place_of, universe
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.context import Context
from tools.vlm.engine import Engine, Request
from tools.vlm.loading import load_host
from tools.vlm.method import Method
from tools.vlm.method import Stage as Stages
from tools.vlm.tokens import VisualTokens
from training.nano.attention import NEVER
from training.nano.batches import pack
from training.nano.config import Mix, Sizes, Stage, recipe
from training.nano.eyes import PLACES, Seen, by_token, naming, places, spelled
from training.nano.learner import Learner, total
from training.nano.models import Models, build, export
from training.nano.vocabulary import beginnings, learn

Tiny = Callable[[str], Models]
FAMILIES = ("llava", "qwen2_5_vl")


def _sizes(family: str) -> Sizes:
    return replace(recipe("tiny").sizes, family=family, search=None if family == "qwen2_5_vl" else (32, 1, 2, 64))  # type: ignore[arg-type]


def _samples(kind: str) -> list[Sample]:
    scenes = Scenes("train")
    return [(scenes.picture if kind == "picture" else scenes.clip)(index, turns=4) for index in range(3)]


def _engine(models: Models, family: str, folder: Path) -> Engine:
    """The tools' own engine on the models, whose weights are not rounded."""
    host = load_host(export(models, _sizes(family), folder), host=family)
    host.model.load_state_dict(models.host.state_dict())
    return Engine(host)


@pytest.mark.parametrize("kind", ["picture", "clip"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_turns_are_the_engines_prompts(family: str, kind: str, tiny: Tiny, tmp_path: Path) -> None:
    models = tiny(family)
    engine = _engine(models, family, tmp_path)
    samples = _samples(kind)
    batch = pack(samples, [sample.turns for sample in samples], Mix(kind=kind), models.tokenizer)  # type: ignore[arg-type]
    learner = Learner(models)
    with torch.no_grad():
        logits = learner.voice.speak(batch, learner.eyes.see(batch).tokens).logits
    index = np.cumsum(batch.target.ravel() >= 0).reshape(batch.target.shape) - 1
    for row, sample in enumerate(samples):
        for number, turn in enumerate(sample.turns):
            frames = Frames(sample.times, sample.frames, 0)
            asked = engine.prefill(Request(frames, turn.question))
            first = int(np.nonzero((batch.turn[row] == number) & (batch.target[row] >= 0))[0][0])
            torch.testing.assert_close(logits[index[row, first]], asked.logits, rtol=1e-3, atol=1e-3)


@dataclass(frozen=True, kw_only=True)
class _Keeps(Method):
    """Keeps the tokens that it is told to."""

    stage: ClassVar[Stages] = "merge"
    places: tuple[int, ...] = ()

    def merge(self, tokens: VisualTokens, context: Context) -> VisualTokens:
        return tokens.gather(torch.tensor(self.places))


@pytest.mark.parametrize("kind", ["picture", "clip"])
@pytest.mark.parametrize("family", FAMILIES)
def test_dropped_tokens_are_those_that_a_method_would_drop(family: str, kind: str, tiny: Tiny, tmp_path: Path) -> None:
    models = tiny(family)
    engine, learner, samples = _engine(models, family, tmp_path), Learner(models), _samples(kind)
    mix = Mix(kind=kind, drop=1.0)  # type: ignore[arg-type]
    batch = pack(samples, [sample.turns[:1] for sample in samples], mix, models.tokenizer, np.random.default_rng(2))
    assert 0 < batch.keep < 1
    with torch.no_grad():
        tokens = learner.eyes.see(batch).tokens
        logits = learner.voice.speak(batch, tokens).logits
    rank = by_token(torch.from_numpy(batch.rank), merged=not learner.eyes.llava).amax(-1)
    count = max(1, round(batch.keep * tokens.shape[1]))
    assert count < tokens.shape[1]
    firsts = np.cumsum((batch.target >= 0).sum(1)) - (batch.target >= 0).sum(1)
    for row, sample in enumerate(samples):
        places = tuple(sorted(rank[row].argsort(descending=True)[:count].tolist()))
        frames = Frames(sample.times, sample.frames, 0)
        asked = engine.prefill(Request(frames, sample.turns[0].question, Compression((_Keeps(places=places),))))
        torch.testing.assert_close(logits[firsts[row]], asked.logits, rtol=1e-3, atol=1e-3)


def test_nothing_is_dropped_unless_it_is_told(tiny: Tiny) -> None:
    samples, tokenizer = _samples("picture"), tiny("llava").tokenizer
    turns = [sample.turns for sample in samples]
    chance = np.random.default_rng(0)
    assert all(pack(samples, turns, Mix(), tokenizer, chance).keep == 1 for _ in range(20))
    kept = [pack(samples, turns, Mix(drop=0.5), tokenizer, chance).keep for _ in range(200)]
    assert 0.4 < np.mean([one < 1 for one in kept]) < 0.6
    assert min(kept) >= 0.1
    most = max(kept)
    kept = [pack(samples, turns, Mix(drop=1.0, most=0.4), tokenizer, chance).keep for _ in range(200)]
    assert 0.3 < max(kept) <= 0.4 < most


@pytest.mark.parametrize("family", FAMILIES)
def test_score_counts_what_greedy_decoding_says(family: str, tiny: Tiny, tmp_path: Path) -> None:
    models = tiny(family)
    engine = _engine(models, family, tmp_path)
    sample = _samples("picture")[0]
    # What the model says is the answer of the first question, and a little more that of the second.
    turns = list(sample.turns[:2])
    said = [engine.look(Frames(sample.times, sample.frames, 0), t.question, max_new_tokens=200) for t in turns]
    texts = [models.tokenizer.decode(list(result.ids)[:5]) for result in said]
    asked = [
        replace(turns[0], answer=texts[0], family="same"),
        replace(turns[1], answer=texts[1] + "!", family="other"),
    ]
    batch = pack([sample], [asked], Mix(), models.tokenizer)
    # The text ends where decoding went on, so that the end token cannot be right; it is no part of this test.
    ends = batch.target == models.tokenizer.token_to_id("<|im_end|>")
    batch = replace(batch, target=np.where(ends, -1, batch.target))
    right, count, mistakes = Learner(models).score(batch)
    if models.tokenizer.encode(texts[0]).ids == list(said[0].ids)[:5]:
        assert right["same"] == 1
    assert right["other"] == 0
    assert count["same"] == count["other"] == 1
    [(wanted, spoken)] = [(wanted, spoken) for family, wanted, spoken in mistakes if family == "other"]
    assert wanted == (texts[1] + "!").strip()
    assert spoken != wanted
    assert sum(mistakes.values()) == 2 - right["same"]


@pytest.mark.parametrize("family", FAMILIES)
def test_dense_labels_lie_where_their_patch_is_read(family: str, tiny: Tiny) -> None:
    learner = Learner(tiny(family))
    sample = _samples("picture")[0]
    labels = np.arange(64).reshape(1, 8, 8)
    batch = pack([replace(sample, colour=labels)], [()], Mix(), learner.models.tokenizer)
    found = learner.eyes.labels(batch, "colour")
    changed = sample.frames.copy()
    changed[:, 42:56, 70:84] = 255 - changed[:, 42:56, 70:84]
    other = replace(batch, frames=changed[None])
    seen, anew = learner.eyes.see(batch), learner.eyes.see(other)
    assert set(seen.readings) == set(CLASSES)
    if family == "llava":
        # Before attention mixes patches, only the token of the changed patch differs.
        embed = learner.models.host.model.vision_tower.embeddings
        pixels = [torch.from_numpy(b.frames[0]).permute(0, 3, 1, 2).float() / 255 for b in (batch, other)]
        differs = (embed(pixels[0]) != embed(pixels[1])).any(-1)[0, 1:]
        assert found[0, differs, 0].tolist() == [3 * 8 + 5]
    else:
        assert found[0, 1 * 4 + 2].tolist() == [2 * 8 + 4, 2 * 8 + 5, 3 * 8 + 4, 3 * 8 + 5]
        far = (seen.tokens - anew.tokens).abs().sum(-1)[0]
        assert far.argmax() == 1 * 4 + 2


@pytest.mark.parametrize("family", FAMILIES)
def test_patches_get_what_others_have_in_common(family: str, tiny: Tiny) -> None:
    learner = Learner(tiny(family))
    samples = _samples("picture")
    labels = np.zeros((2, 1, 8, 8), np.int64)
    # Red beside blue in one picture; blue alone in the other.
    labels[0, 0, :2], labels[0, 0, 4:6], labels[1, 0, 6:] = 1, 2, 2
    drawn = [replace(sample, colour=colour) for sample, colour in zip(samples, labels, strict=False)]
    table, own = np.arange(len(CLASSES["colour"])), np.arange(len(CLASSES["shape"]))
    swaps = [{"colour": np.where(table == 1, 2, table), "shape": own}, {"colour": table, "shape": own}]
    batch = pack(drawn, [(), ()], Mix(turns=0), learner.models.tokenizer, swaps=swaps)
    patches = torch.randn(2, 64, 12)
    seen = learner.eyes.labels(batch, "colour").flatten(1)
    found, changed = learner.eyes.swapped(batch, patches)
    common = [patches[seen == colour].mean(0) for colour in (1, 2)]
    expected = patches.clone()
    expected[seen == 1] += common[1] - common[0]
    torch.testing.assert_close(changed, expected)
    torch.testing.assert_close(changed[0, seen[0] == 1].mean(0), common[1])
    anew = learner.eyes.labels(batch, "colour", found)
    assert (anew == learner.eyes.labels(batch, "colour").where(anew != 2, anew)).all()
    assert set(anew[0].unique().tolist()) == {0, 2}
    # Nothing in the batch is cyan, so that nobody knows what cyan things have in common.
    for one in swaps:
        one["colour"] = np.where(table == 1, CLASS_OF["colour"]["cyan"], table)
    unknown = pack(drawn, [(), ()], Mix(turns=0), learner.models.tokenizer, swaps=swaps)
    found, changed = learner.eyes.swapped(unknown, patches)
    assert found["colour"].tolist() == [table.tolist()] * 2
    torch.testing.assert_close(changed, patches)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_swapped_is_seen_behind_the_tower_alone(family: str, tiny: Tiny) -> None:
    learner = Learner(tiny(family))
    samples = _samples("picture")
    plain = pack(samples, [()] * 3, Mix(turns=0), learner.models.tokenizer)
    there = sorted(set(np.unique(plain.labels["colour"])) - {0})
    assert len(there) > 1
    table = np.arange(len(CLASSES["colour"]))
    table[there[0]] = there[1]
    batch = replace(plain, swaps={**plain.swaps, "colour": np.stack([table] * 3)})
    one, other = learner.eyes.see(plain, cls=True), learner.eyes.see(batch, cls=True)
    tokens = (learner.eyes.labels(plain, "colour") == there[0]).any(-1)
    assert ((one.tokens != other.tokens).any(-1) == tokens).all()
    if family == "llava":
        assert one.cls is not None
        assert other.cls is not None
        torch.testing.assert_close(one.cls, other.cls)
        # The tower goes on learning what was drawn.
        torch.testing.assert_close(learner.eyes.dense(plain, one), learner.eyes.dense(batch, other))
    else:
        # What is read behind the swap tells of it: another loss than that of what was drawn.
        drawn = replace(other, swaps={})
        assert learner.eyes.dense(batch, other) != learner.eyes.dense(batch, drawn)
    # What is named is what the token now tells of.
    assert learner.eyes.words(batch, other) != learner.eyes.words(batch, replace(other, swaps={}))


@pytest.mark.parametrize("family", FAMILIES)
def test_places_are_those_that_questions_ask_for(family: str, tiny: Tiny) -> None:
    learner = Learner(tiny(family))
    batch = pack(_samples("clip"), [()] * 3, Mix("clip"), learner.models.tokenizer)
    merged = not learner.eyes.llava
    found = places(batch, torch.device("cpu"), merged=merged)
    patches = by_token(torch.arange(64).view(1, 1, 8, 8).expand(3, 8, 8, 8), merged=merged)
    shows = torch.stack([learner.eyes.labels(batch, kind) for kind in CLASSES]).any(0)
    assert 0 < shows.float().mean() < 1
    for token, (cells, seen) in enumerate(zip(patches[1].tolist(), shows[1].tolist(), strict=True)):
        said = [names[int(found[kind][1, token])] for kind, names in PLACES.items()]
        there = [cell for cell, one in zip(cells, seen, strict=True) if one]
        column, row = np.mean([(cell % 8, cell // 8) for cell in there], axis=0) if there else (0, 0)
        expected = place_of((column + 0.5) / 8, (row + 0.5) / 8) if there else ""
        assert " ".join(filter(None, said)) == expected


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_time_rows_and_columns_each_turn_keys_fast_and_slowly(axis: int, tiny: Tiny) -> None:
    rotary = tiny("qwen2_5_vl").host.model.language_model.rotary_emb
    steps = torch.zeros(3, 1, 1, dtype=torch.long)
    steps[axis] = 1
    _, sin = rotary(torch.zeros(1, 1, 1), steps)
    frequencies = rotary.inv_freq.repeat(2)[sin[0, 0] != 0]
    # A step is to be told from none, and a word is to find what it names from 30 tokens away.
    assert frequencies.max() > 0.09
    assert frequencies.min() * 30 < 1


def test_a_tower_without_places_tells_where_a_thing_lies(tiny: Tiny) -> None:
    eyes = Learner(tiny("qwen2_5_vl")).eyes
    batch = pack(_samples("picture"), [()] * 3, Mix(turns=0), eyes.models.tokenizer)
    frames = np.full_like(batch.frames, 255)
    where = [(0, 0), (1, 2), (3, 3)]
    for frame, (row, column) in zip(frames[:, 0], where, strict=True):
        frame[28 * row : 28 * row + 28, 28 * column : 28 * column + 28] = (200, 30, 30)
    with torch.no_grad():
        tokens = eyes.see(replace(batch, frames=frames)).tokens
    # The same thing before the same background: only how much of it lies on which side differs.
    found = F.normalize(torch.stack([tokens[at, 4 * row + column] for at, (row, column) in enumerate(where)]), dim=-1)
    assert (found @ found.T).fill_diagonal_(-1).max() < 1 - 5e-5


def test_a_tower_is_one_module_in_both_models(tiny: Tiny) -> None:
    models = tiny("llava")
    assert models.search is not None
    assert models.search.vision_model is models.host.model.vision_tower
    names = [name for name, _ in Learner(models).parts.named_parameters()]
    assert not any(name.startswith("search.vision_model") for name in names)


def test_contrast_is_clips_loss(tiny: Tiny) -> None:
    learner = Learner(tiny("llava"))
    search = learner.models.search
    samples = _samples("picture")
    batch = pack(samples, [() for _ in samples], Mix(), learner.models.tokenizer)
    seen = learner.eyes.see(batch, cls=True)
    assert seen.cls is not None
    loss = learner.eyes.contrast(batch, seen.cls)
    pixels = torch.from_numpy(batch.frames[:, 0]).permute(0, 3, 1, 2).float() / 255
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor(do_resize=False, do_center_crop=False, do_rescale=False)
    values = processor(images=list(pixels), return_tensors="pt")["pixel_values"]
    ids = torch.from_numpy(batch.caption)
    assert search is not None
    products = search(input_ids=ids, pixel_values=values).logits_per_image
    own = torch.arange(3)
    expected = (F.cross_entropy(products, own) + F.cross_entropy(products.T, own)) / 2
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-3)


def test_losses_are_those_that_the_stage_weighs(tiny: Tiny) -> None:
    learner = Learner(tiny("llava"))
    samples = _samples("picture")
    batch = pack(samples, [sample.turns for sample in samples], Mix(), learner.models.tokenizer)
    tower, answers = recipe("tiny").stages
    assert set(learner.losses(batch, tower)) == {"dense", "words", "contrast"}
    assert set(learner.losses(batch, answers)) == {"language", "words"}


@pytest.mark.parametrize("family", FAMILIES)
def test_courses_are_read_where_their_patch_is_shown(family: str, tiny: Tiny) -> None:
    learner, samples = Learner(tiny(family)), _samples("clip")
    patches = np.arange(8 * 64).reshape(8, 8, 8)
    told = [replace(sample, courses={"since": patches + 1000 * row}) for row, sample in enumerate(samples)]
    batch = pack(told, [()] * 3, Mix("clip", drop=1.0), learner.models.tokenizer, np.random.default_rng(2))
    assert 0 < batch.keep < 1
    tokens = learner.eyes.see(batch).tokens.detach()
    spoken = learner.voice.speak(batch, tokens)
    ((kind, reading, classes),) = learner.voice.courses(batch, spoken)
    assert kind == "since"
    assert reading.shape[:-1] == classes.shape
    whole = by_token(torch.from_numpy(batch.courses["since"]), merged=not learner.eyes.llava)
    rank = by_token(torch.from_numpy(batch.rank), merged=not learner.eyes.llava).amax(-1)
    count = spoken.cells.shape[1]
    assert count == max(1, round(batch.keep * tokens.shape[1]))
    for row in range(3):
        kept = sorted(rank[row].argsort(descending=True)[:count].tolist())
        assert classes[row].tolist() == whole[row, kept].tolist()
    # What a cell is read from is the middle of the decoder, so that a later token changes nothing.
    other = tokens.clone()
    last = spoken.cells[0, -1]
    other[0, last] += 1
    changed = (learner.voice.speak(batch, other).middle != spoken.middle).any(-1)
    assert changed.nonzero().tolist() == [[0, count - 1]]


def test_clips_without_questions_teach_to_compare(tiny: Tiny) -> None:
    learner = Learner(tiny("llava"))
    batch = pack(_samples("clip"), [()] * 3, Mix("clip", turns=0), learner.models.tokenizer)
    stage = Stage("compare", 1.0, (Mix(),), language=0.0, course=1.0)
    found = learner.learn(batch, stage)
    assert set(found) == {"course"}
    taught = {name for name, value in learner.parts.named_parameters() if value.grad is not None and value.grad.any()}
    learner.parts.zero_grad()
    layers = {name.split(".layers.")[1][0] for name in taught if "language_model.layers." in name}
    # The lower half of two layers, and the tower behind it.
    assert layers == {"0"}
    assert any("vision_tower" in name for name in taught)
    still = pack(_samples("picture"), [()] * 3, Mix(turns=0), learner.models.tokenizer)
    assert learner.losses(still, stage) == {}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", sorted(PLACES))
def test_tokens_learn_the_names_of_their_places(kind: str, family: str, tiny: Tiny) -> None:
    learner = Learner(tiny(family))
    batch = pack(_samples("clip"), [()] * 3, Mix("clip"), learner.models.tokenizer)
    tokens = learner.eyes.see(batch).tokens.detach()
    place = places(batch, torch.device("cpu"), merged=family != "llava")[kind][..., 0]
    assert place.any()
    table = learner.models.host.model.language_model.embed_tokens.weight.detach()
    names = table[spelled(PLACES, learner.models, torch.device("cpu"))[kind]].mean(1)
    names = F.normalize(F.pad(names, (0, 0, 1, 0)), dim=-1)
    shift = tokens.norm(dim=-1, keepdim=True) * names[place]
    near, far = Seen(tokens + shift, {}, None), Seen(tokens - shift, {}, None)
    assert learner.eyes.words(batch, near) < learner.eyes.words(batch, far)


@pytest.mark.parametrize("family", FAMILIES)
def test_plurals_learn_what_they_are_of(family: str) -> None:
    # With tokens of their own.
    names = [name for shape in SHAPES for name in (f"a {shape}", f"two {plural(shape)}")] * 9
    learner = Learner(build(_sizes(family), learn([*names, *"0123456789"], 600)))
    batch = pack(_samples("picture"), [()] * 3, Mix(turns=0), learner.models.tokenizer)
    seen = Seen(learner.eyes.see(batch).tokens.detach(), {}, None)
    table = learner.models.host.model.language_model.embed_tokens.weight
    taught = []
    for plurals in (False, True):
        (gradient,) = torch.autograd.grad(learner.eyes.words(batch, seen, plurals=plurals), table)
        taught.append(set(gradient.any(-1).nonzero().flatten().tolist()))
    own = {beginnings(plural(shape), learner.models.tokenizer)[1] for shape in SHAPES}
    assert taught[1] - taught[0] == own
    assert len(own) == len(SHAPES)
    stage = Stage("words", 1.0, (), language=0.0, words=1.0)
    plain, more = (learner.losses(batch, replace(stage, plurals=plurals))["words"] for plurals in (False, True))
    assert plain != more


def test_a_token_is_named_by_the_word_that_lies_closest(tiny: Tiny) -> None:
    models = tiny("llava")
    table = models.host.model.language_model.embed_tokens.weight
    names = table[spelled({"shape": CLASSES["shape"]}, models, torch.device("cpu"))["shape"]]
    means = names.mean(1)
    tokens = torch.cat([-means.sum(0, keepdim=True), 3 * means])
    assert naming(tokens, names).argmax(-1).tolist() == list(range(len(CLASSES["shape"])))


def test_a_token_is_not_named_nothing_for_its_empty_patches(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where a thing lies is asked once a token, so that it would weigh less beside four patches than beside one.
    monkeypatch.setattr("training.nano.eyes.places", lambda *_, **__: {})
    learner = Learner(tiny("qwen2_5_vl"))
    batch = pack(_samples("picture"), [()] * 3, Mix(turns=0), learner.models.tokenizer)
    tokens = learner.eyes.see(batch).tokens.detach().requires_grad_()
    shown = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    shown[0, 0, 0, 0] = 1
    only = replace(batch, labels={kind: shown.expand(3, -1, -1, -1).numpy() for kind in CLASSES})
    full = shown.clone()
    full[0, 0, :2, :2] = 1
    all_four = replace(batch, labels={kind: full.expand(3, -1, -1, -1).numpy() for kind in CLASSES})
    directions = []
    for one in (only, all_four):
        loss = learner.eyes.words(one, Seen(tokens, {}, None))
        directions.append(F.normalize(torch.autograd.grad(loss, tokens)[0][:, 0], dim=-1))
    torch.testing.assert_close(directions[0], directions[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["picture", "clip"])
def test_learning_in_pieces_has_the_gradients_of_the_whole(
    family: str, kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.nano.learner._CHUNK", 700)
    learner = Learner(tiny(family))
    samples = _samples(kind)
    asked = [samples[0].turns, (), samples[2].turns[:1]]
    batch = pack(samples, asked, Mix(kind=kind), learner.models.tokenizer)  # type: ignore[arg-type]
    contrast = 0.2 if family == "llava" else 0.0
    stage = Stage("all", 1.0, (Mix(),), language=0.7, dense=0.5, words=0.3, contrast=contrast, course=0.4)
    losses = learner.losses(batch, stage)
    total(losses, stage).backward()  # type: ignore[no-untyped-call]
    expected = {n: p.grad.clone() for n, p in learner.parts.named_parameters() if p.grad is not None}
    learner.parts.zero_grad()
    found = learner.learn(batch, stage)
    assert found == pytest.approx({name: float(loss.detach()) for name, loss in losses.items()}, rel=1e-4)
    gradients = {n: p.grad for n, p in learner.parts.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(gradients[name], value, rtol=1e-3, atol=1e-5 * largest)
    learner.parts.zero_grad()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_forgiven_is_not_taken_for_wrong(family: str, tiny: Tiny) -> None:
    learner = Learner(tiny(family))
    tokenizer = learner.models.tokenizer
    sample = _samples("picture")[0]
    turns = [
        Turn("What colour is the star?", "blue, red", "colour", forgiven=("green", "red")),
        Turn("Where is the star?", "top", "position"),
    ]
    batch = pack([sample], [turns], Mix(), tokenizer)
    with torch.no_grad():
        spoken = learner.voice.speak(batch, learner.eyes.see(batch).tokens)
        kinder = learner.voice.forgiving(batch, spoken.logits)
    said = tokenizer.encode("blue, red").ids
    own = {*beginnings("green", tokenizer), *beginnings("red", tokenizer)}
    # No training scene has a shape in every colour, so none is wrong behind the colour that it never has.
    never = {
        token: {one for shape in universe("train").unheard(colour) for one in beginnings(shape, tokenizer)}
        for colour in ("blue", "red")
        for token in beginnings(colour, tokenizer)
    }
    for place, (row, before, token) in enumerate(zip(kinder, spoken.logits, spoken.wanted.tolist(), strict=True)):
        changed = set(torch.nonzero(row != before)[:, 0].tolist())
        behind = never.get(said[place - 1], set()) if 0 < place <= len(said) else set()
        # What is to be said stays, forgiven or not.
        assert changed == ((own | behind) - {token} if place <= len(said) else set())
        assert all(row[one] == NEVER for one in changed)
    stage = Stage("answers", 1.0, (Mix(),))
    plain = replace(batch, forgiven=np.full_like(batch.forgiven, -1))
    kind, strict = (float(learner.losses(one, stage)["language"].detach()) for one in (batch, plain))
    assert kind < strict
    assert learner.learn(batch, stage)["language"] == pytest.approx(kind, rel=1e-4)
    learner.parts.zero_grad()


@pytest.mark.parametrize("family", FAMILIES)
def test_patches_learn_nothing_of_pairs_that_are_never_shown(family: str, tiny: Tiny) -> None:
    learner = Learner(tiny(family))
    eyes = learner.eyes
    samples = [Scenes("train").picture(index) for index in range(12)]
    batch = pack(samples, [()] * len(samples), Mix(), learner.models.tokenizer)
    with torch.no_grad():
        seen = eyes.see(batch)
    readings = {kind: torch.randn_like(reading).requires_grad_() for kind, reading in seen.readings.items()}
    eyes.dense(batch, replace(seen, readings=readings)).backward()  # type: ignore[no-untyped-call]
    colours, shapes = (eyes.labels(batch, kind).flatten().tolist() for kind in ("colour", "shape"))
    for kind in ("colour", "shape"):
        gradient = readings[kind].grad
        assert gradient is not None
        for colour, shape, row in zip(colours, shapes, gradient.flatten(0, -2), strict=True):
            for number, name in enumerate(CLASSES[kind]):
                pair = (name, CLASSES["shape"][shape]) if kind == "colour" else (CLASSES["colour"][colour], name)
                named = "none" not in pair and "text" not in pair
                assert (row[number] == 0) == (named and pair_split(*pair) != "train"), pair
    assert {(colour > 0, shape > 0) for colour, shape in zip(colours, shapes, strict=True)} > {(True, True)}
    kind_loss = eyes.words(batch, seen)
    eyes._unheard = {}
    assert eyes.words(batch, seen) > kind_loss
