"""What comes out of a run: real checkpoints that the tools load, a tokenizer that spells, figures and a card."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from evals.synth.scenes import CLASSES, Scenes
from tools.embed.backends.visual.clip import Clip
from tools.errors import ProfileError
from tools.media.frames import Frames
from tools.vlm.engine import Engine
from tools.vlm.loading import load_host
from training.nano.batches import sentences
from training.nano.config import RECIPES, Mix, Recipe, Stage, recipe
from training.nano.loop import Training
from training.nano.models import Models, build, export, parameters
from training.nano.release import release
from training.nano.vocabulary import END, SPECIALS, for_search, learn

TINY = recipe("tiny").sizes


def test_the_tokenizer_is_learnt_the_same_again(tokenizer: Tokenizer) -> None:
    assert learn(sentences(40, 0), 600).to_str() == tokenizer.to_str()
    for place, name in enumerate(SPECIALS):
        assert tokenizer.token_to_id(name) == place
    # CLIP reads an end token numbered 2 in another way.
    assert tokenizer.token_to_id(END) != 2


@pytest.mark.parametrize("text", ["What is it? 47", "the word ZEBRA at the top", "ŷ \N{SNOWMAN} \t x"])
def test_the_tokenizer_gives_back_what_it_got(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_numbers_and_words_in_capitals_are_spelled(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("683").tokens == ["6", "8", "3"]
    assert tokenizer.encode("ZEBRA").tokens == list("ZEBRA")
    for name in CLASSES["glyph"][1:]:
        assert len(tokenizer.encode(name).ids) == 1


def test_texts_to_search_with_end_with_the_end_token(tokenizer: Tokenizer) -> None:
    words = for_search(tokenizer, 8)
    short, long = words(["a red star", "a red star " * 10], truncation=True, max_length=8)["input_ids"]
    assert short[-1] == long[-1] == words.eos_token_id
    assert len(long) == 8


@pytest.mark.parametrize("name", ["nano", "nano-qwen"])
def test_models_are_small_enough_to_ship(name: str, tokenizer: Tokenizer) -> None:
    sizes = RECIPES[name].sizes
    models = build(sizes, tokenizer)
    # Vocabulary beyond the one of this test.
    more = (sizes.vocabulary - tokenizer.get_vocab_size()) * (sizes.text[0] + (sizes.search[0] if sizes.search else 0))
    total = parameters(models.host) + (parameters(models.search) if models.search is not None else 0) + more
    assert set(models.heads) == set(sizes.labels)
    assert parameters(models.host) <= 12e6
    assert 2 * total <= 25e6


@pytest.mark.parametrize("name", ["nano", "nano-qwen"])
def test_patches_attend_to_what_is_like_them_from_the_start(name: str, tokenizer: Tokenizer) -> None:
    model = build(RECIPES[name].sizes, tokenizer).host.model
    if name == "nano":
        layers = [layer.self_attn for layer in model.vision_tower.encoder.layers]
        pairs = [(layer.q_proj.weight, layer.k_proj.weight) for layer in layers]
    else:
        pairs = [block.attn.qkv.weight.chunk(3)[:2] for block in model.visual.blocks]
    assert pairs
    for queries, keys in pairs:
        assert queries.any()
        assert torch.equal(queries, keys)
    for layer in model.language_model.layers:
        attention = layer.self_attn
        queries = attention.q_proj.weight.unflatten(0, (-1, attention.head_dim))
        keys = attention.k_proj.weight.unflatten(0, (-1, attention.head_dim))
        # Some heads share a key.
        assert len(queries) > len(keys)
        for head, query in enumerate(queries):
            assert torch.equal(query, keys[head * len(keys) // len(queries)])


def test_the_contrastive_model_embeds_as_it_was_trained(tiny: Callable[[str], Models], tmp_path: Path) -> None:
    models = tiny("llava")
    export(models, TINY, tmp_path)
    clip = Clip(str(tmp_path / "search"))
    sample = Scenes("test").clip(0)
    pictures, texts = clip.embed_images(sample.frames), clip.embed_texts([sample.caption, "a red star"])
    assert pictures.shape == (8, TINY.space)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1.0, rtol=1e-5)
    assert models.search is not None
    ids = torch.tensor([for_search(models.tokenizer, 160)(sample.caption)["input_ids"]])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(models.search.get_text_features(ids).pooler_output, dim=-1)
    # bfloat16 on disk.
    np.testing.assert_allclose(texts[0], expected[0].numpy(), atol=0.02)


def test_a_checkpoint_carries_its_temperature(tiny: Callable[[str], Models], tmp_path: Path) -> None:
    sample = Scenes("test").picture(0)
    frames = Frames(sample.times, sample.frames, 0)
    looks = []
    for temperature in (1.0, 4.0):
        export(tiny("llava"), TINY, tmp_path / str(temperature), temperature=temperature)
        host = load_host(tmp_path / str(temperature))
        assert host.temperature == temperature
        looks.append(Engine(host).look(frames, "What is it?", max_new_tokens=6))
    assert looks[0].ids == looks[1].ids
    assert looks[0].confidence > looks[1].confidence
    config = tmp_path / "1.0" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "confidence_temperature": 0}))
    with pytest.raises(ProfileError, match="confidence_temperature"):
        load_host(config.parent)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_release(family: str, tmp_path: Path) -> None:
    stages = (
        Stage("tower", 0.5, (Mix(batch=4, turns=0),), language=0.0, dense=1.0, words=0.5),
        Stage("answers", 0.5, (Mix(batch=4, turns=4), Mix("clip", batch=2, turns=2))),
    )
    sizes = replace(TINY, family=family, samples=20, search=TINY.search if family == "llava" else None)  # type: ignore[arg-type]
    small = Recipe("small", sizes, stages, steps=8, check=0, workers=0, judge=2, clips=10)
    training = Training(small, tmp_path, device="cpu")
    training.run()
    folder = release(training, tmp_path / "checkpoint")
    measured = json.loads((folder / "measured.json").read_text())
    run = measured["run"]
    assert (run["config"], run["steps"], run["stages"]) == ("small", 8, ["tower 50%", "answers 50%"])
    assert set(measured["accuracy"]) == {"picture near", "picture far", "clip near", "clip far"}
    assert ("recall_at_5" in measured) == (family == "llava")
    assert load_host(folder, host=family).temperature == measured["temperature"]
    assert "loupe-small" in (folder / "README.md").read_text()
    assert "--config small --steps 8" in (folder / "README.md").read_text()
    # The running mean is what is written.
    with training.averaged():
        expected = training.models.host.lm_head.weight.to(torch.bfloat16).float()
    torch.testing.assert_close(load_host(folder).model.lm_head.weight, expected)
