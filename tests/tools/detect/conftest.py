"""Tiny random checkpoints of the real detector classes, and drawn frames."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from transformers import (
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
)

from tools.media.frames import Frames

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
#: Sizes of a very small transformer.
_SMALL = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture(scope="session")
def owlv2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random OWLv2 checkpoint with tokenizer and processor."""
    folder = tmp_path_factory.mktemp("models") / "owlv2-tiny"
    # OWL takes the id 0 in front for an empty query.
    words = ["!", "<|startoftext|>", "<|endoftext|>", *_LETTERS, *(f"{letter}</w>" for letter in _LETTERS)]
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=32)
    torch.manual_seed(0)
    config = Owlv2Config(
        text_config={
            **_SMALL,
            "vocab_size": len(words),
            "max_position_embeddings": 32,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        },
        vision_config={**_SMALL, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def grounding_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Grounding DINO checkpoint with tokenizer and processor."""
    folder = tmp_path_factory.mktemp("models") / "grounding-dino-tiny"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "red", "ball", "cat", "person", "moving", "object"]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "image_size": 64,
            "patch_size": 4,
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 2, 2],
            "window_size": 4,
            "out_features": ["stage2", "stage3", "stage4"],
        },
        text_config={"model_type": "bert", **_SMALL, "vocab_size": len(words), "max_position_embeddings": 64},
        num_queries=9,
        encoder_layers=1,
        decoder_layers=2,
        d_model=32,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        max_text_len=64,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    image_processor = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(image_processor, tokenizer).save_pretrained(folder)
    return folder


Ball = Callable[..., Frames]


@pytest.fixture(scope="session")
def ball() -> Ball:
    """Draws frames, one a second, of a ball that rolls over a blurred background with a little grain."""

    def draw(
        count: int,
        step: float,
        *,
        color: tuple[int, int, int] = (220, 30, 30),
        size: tuple[int, int] = (320, 180),
        seed: int = 0,
        start: float = 0.0,
    ) -> Frames:
        chance = np.random.default_rng(seed)
        height = size[1]
        coarse = chance.integers(60, 200, (5, 8, 3), dtype=np.uint8)
        behind = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        images = []
        for i in range(count):
            image = behind.copy()
            cv2.circle(image, (round(40 + step * i), height // 2), height // 12, color, -1)
            grain = chance.normal(0, 3, image.shape)
            images.append(np.clip(image + grain, 0, 255).astype(np.uint8))
        return Frames(np.arange(count, dtype=np.float64) + start, np.stack(images))

    return draw


@pytest.fixture(scope="session")
def portrait() -> Frames:
    """Two frames with one face, of scikit-image's packaged portrait of an astronaut."""
    picture = skimage.data.astronaut()
    return Frames(np.arange(2.0), np.stack([picture, picture]))
