"""What every embedder obeys, over all that the registries find."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tools.embed import TEXT_BACKENDS, VISUAL_BACKENDS, TextEmbedder, VisualEmbedder
from tools.errors import ProfileError

TEXTS = ["a rocket stands on the pad", "b", "the weather is fine today and everybody is happy about it", "", "a rocket"]


@pytest.fixture(scope="module", params=TEXT_BACKENDS.names())
def text(request: pytest.FixtureRequest, text_options: Callable[[str], dict[str, Any]]) -> TextEmbedder:
    return TEXT_BACKENDS.create(request.param, text_options(request.param))


@pytest.fixture(scope="module", params=VISUAL_BACKENDS.names())
def visual(request: pytest.FixtureRequest, visual_options: Callable[[str], dict[str, Any]]) -> VisualEmbedder:
    return VISUAL_BACKENDS.create(request.param, visual_options(request.param))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 40, 64, 3), np.uint8)


def _is_unit(vectors: np.ndarray, shape: tuple[int, int]) -> None:
    assert vectors.shape == shape
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def _laws(embed: Callable[[Any], np.ndarray], items: Any, dim: int) -> None:
    vectors = embed(items)
    _is_unit(vectors, (len(items), dim))
    np.testing.assert_array_equal(embed(items), vectors)
    alone = np.concatenate([embed(items[i : i + 1]) for i in range(len(items))])
    np.testing.assert_allclose(alone, vectors, atol=1e-5)
    np.testing.assert_allclose(embed(items[::-1]), vectors[::-1], atol=1e-5)
    assert np.linalg.norm(vectors[0] - vectors[2]) > 1e-3
    empty = embed(items[:0])
    assert (empty.shape, empty.dtype) == ((0, dim), np.float32)


def test_text_laws(text: TextEmbedder) -> None:
    _laws(text.embed, TEXTS, text.dim)
    assert text.model


def test_visual_laws(visual: VisualEmbedder, images: np.ndarray) -> None:
    _laws(visual.embed_images, images, visual.dim)
    _laws(visual.embed_texts, TEXTS, visual.dim)
    assert visual.model


def test_very_long_texts_are_cut(text: TextEmbedder, visual: VisualEmbedder) -> None:
    for embed, dim in ((text.embed, text.dim), (visual.embed_texts, visual.dim)):
        _is_unit(embed(["word " * 5000]), (1, dim))


def test_pictures_of_any_size(visual: VisualEmbedder) -> None:
    for shape in ((1, 1), (1, 500), (37, 3), (480, 640)):
        _is_unit(visual.embed_images(np.zeros((2, *shape, 3), np.uint8)), (2, visual.dim))


def test_threads_do_not_disturb_each_other(text: TextEmbedder, visual: VisualEmbedder, images: np.ndarray) -> None:
    jobs = [(text.embed, TEXTS[i : i + 2]) for i in range(4)] + [(visual.embed_texts, TEXTS[:i]) for i in (1, 3)]
    jobs.append((visual.embed_images, images))
    alone = [embed(items) for embed, items in jobs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for want, got in zip(alone, pool.map(lambda job: job[0](job[1]), jobs), strict=True):
                np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
    ("registry", "name"), [(r, n) for r in (TEXT_BACKENDS, VISUAL_BACKENDS) for n in r.names() if n != "minilm"]
)
@pytest.mark.parametrize("model", ["nobody/no-such-model", "/no/such/folder"])
def test_a_missing_model_is_one_sentence(registry: Any, name: str, model: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ProfileError) as caught:
        registry.create(name, {"model": model})
    assert caught.value.field == "model"
    assert model in caught.value.message
    assert caught.value.remedy
    assert str(registry.get(name).check(model=model)) == str(caught.value)


@pytest.mark.parametrize("name", [n for n in VISUAL_BACKENDS.names() if n in ("clip", "siglip")])
def test_a_checkpoint_of_another_class_is_refused(name: str, checkpoints: Callable[[str], Any]) -> None:
    other = "siglip" if name == "clip" else "clip"
    with pytest.raises(ProfileError, match=f"is a '{other}' model"):
        VISUAL_BACKENDS.create(name, {"model": str(checkpoints(other))})
