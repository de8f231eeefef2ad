"""Tiny random checkpoints of the real classes, and every embedding backend built on what it needs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes (once) the folder of a tiny checkpoint: "clip", "siglip" or "sentence_transformer"."""
    made: dict[str, Path] = {}

    def _make(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            _MAKERS[kind](made[kind])
        return made[kind]

    return _make


@pytest.fixture(scope="session")
def text_options(checkpoints: Callable[[str], Path]) -> Callable[[str], dict[str, Any]]:
    """Options with which a text backend is tested; none for one that needs none."""
    return lambda name: {"model": str(checkpoints(name))} if name in _MAKERS else {}


@pytest.fixture(scope="session")
def visual_options(checkpoints: Callable[[str], Path]) -> Callable[[str], dict[str, Any]]:
    """Options with which a visual backend is tested; none for one that needs none."""
    return lambda name: {"model": str(checkpoints(name))} if name in _MAKERS else {}


def _tokenizer(folder: Path, length: int) -> None:
    """A word tokenizer over letters, with the special tokens of CLIP, for all three classes."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=length,
    ).save_pretrained(folder)


def _clip(folder: Path) -> None:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={**size, "vocab_size": 64, "max_position_embeddings": 24, "eos_token_id": 2, "bos_token_id": 1},
        vision_config={**size, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    _tokenizer(folder, 24)


def _siglip(folder: Path) -> None:
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = SiglipConfig(
        text_config={**size, "vocab_size": 64, "max_position_embeddings": 24, "projection_size": 32},
        vision_config={**size, "image_size": 32, "patch_size": 8},
    )
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    _tokenizer(folder, 24)


def _sentence_transformer(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    _tokenizer(folder, 32)
    package = "sentence_transformers.models"
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(
        json.dumps(
            [{"idx": i, "name": str(i), "path": p, "type": f"{package}.{t}"} for i, (p, t) in enumerate(modules)]
        )
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
    )
    (folder / "2_Normalize").mkdir()


_MAKERS = {"clip": _clip, "siglip": _siglip, "sentence_transformer": _sentence_transformer}
