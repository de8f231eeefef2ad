"""Random models of the real transformers classes with real tokenizers and processors, built offline: tiny ones for
tests, and one of a real model's size to measure."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SiglipVisionConfig,
)

CORPUS = [
    "What is written on the red sign behind the speaker? Answer with one word, yes or no.",
    "A small blue circle moves from the left to the right and then leaves the picture.",
    "Which of these happens first? A. the door opens B. the light goes out C. nobody moves",
]

SPECIALS = [
    "<pad>",
    "<|im_start|>",
    "<|im_end|>",
    "<image>",
    "<video>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% elif c['type'] == 'video' %}VIDEO"
    "{% else %}{{ c['text'] | trim }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on three sentences."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<|im_end|>")


def _text(words: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "tie_word_embeddings": False,
        # Wide enough that attention is far from uniform and the arg-max is never a tie.
        "initializer_range": 0.2,
        **more,
    }


def _vision(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 8,
        "initializer_range": 0.2,
        **more,
    }


def _finished(model: Any, words: PreTrainedTokenizerFast) -> Any:
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = 0
    return model.eval()


def llava() -> tuple[Any, Any]:
    """LLaVA-1.5: CLIP tower with CLS, Llama decoder."""
    words = tokenizer()
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_vision(projection_dim=32)),
        text_config=LlamaConfig(**_text(words)),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=49,
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        tokenizer=words,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>\n"),
    )
    return _finished(LlavaForConditionalGeneration(config), words), processor


def llava_onevision(
    *, side: int = 56, patch: int = 8, vision: Mapping[str, Any] | None = None, text: Mapping[str, Any] | None = None
) -> tuple[Any, Any]:
    """LLaVA-OneVision: SigLIP tower without CLS, pooled video grid, crops of stills, Qwen2 decoder.

    Args:
        side, patch: pixels along a picture and along a patch.
        vision, text: sizes in place of the tiny ones.
    """
    words = tokenizer()
    pinpoints = [[side, side], [side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**_vision(**{"image_size": side, "patch_size": patch, **(vision or {})})),
        text_config=Qwen2Config(**_text(words, **(text or {}))),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=False,
    )
    size = {"height": side, "width": side}
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints),
        tokenizer=words,
        video_processor=LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=(side // patch) ** 2,
        vision_feature_select_strategy="full",
        chat_template=CHAT.replace("IMAGE", "<image>\n").replace("VIDEO", "<video>\n"),
    )
    return _finished(LlavaOnevisionForConditionalGeneration(config), words), processor


def llava_onevision_05b(*, tower_layers: int = 26) -> tuple[Any, Any]:
    """Random weights in the sizes of LLaVA-OneVision 0.5B: SigLIP so400m and Qwen2 0.5B, 196 visual tokens a frame.

    Args:
        tower_layers: fewer for who measures the decoder only.
    """
    vision = {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": tower_layers,
        "num_attention_heads": 16,
        "vision_use_head": False,
        "initializer_range": 0.02,
    }
    text = {
        "vocab_size": 152_000,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "initializer_range": 0.02,
    }
    return llava_onevision(side=384, patch=14, vision=vision, text=text)


def _qwen_tokens(words: PreTrainedTokenizerFast) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: words.convert_tokens_to_ids(name) for key, name in names.items()}


def _qwen_chat(video: str) -> str:
    return CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>").replace("VIDEO", video)


def qwen2_5_vl() -> tuple[Any, Any]:
    """Qwen2.5-VL: window attention, 2x2 merger, M-RoPE."""
    words = tokenizer()
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
            "initializer_range": 0.2,
        },
        text_config=_text(
            words, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
        ),
        tie_word_embeddings=False,
        **_qwen_tokens(words),
    )
    size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 16}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(size=size, cap_pixels_per_frame=False),
        chat_template=_qwen_chat("<|vision_start|><|video_pad|><|vision_end|>"),
    )
    return _finished(Qwen2_5_VLForConditionalGeneration(config), words), processor


def qwen3_vl() -> tuple[Any, Any]:
    """Qwen3-VL: DeepStack features in the first decoder layers, timestamps between frames, interleaved M-RoPE."""
    words = tokenizer()
    config = Qwen3VLConfig(
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.2,
        },
        text_config=_text(
            words,
            head_dim=16,
            rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        ),
        tie_word_embeddings=False,
        **_qwen_tokens(words),
    )
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            size={"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 16}, patch_size=16, merge_size=2
        ),
        tokenizer=words,
        video_processor=Qwen3VLVideoProcessor(
            size={"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 256}, cap_pixels_per_frame=False
        ),
        chat_template=_qwen_chat("<|vision_start|><|video_pad|><|vision_end|>"),
    )
    return _finished(Qwen3VLForConditionalGeneration(config), words), processor


BUILDERS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "llava": llava,
    "llava_onevision": llava_onevision,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
}


def build(host: str, path: Path, **sizes: Any) -> Path:
    """Writes the tiny checkpoint of ``host`` to ``path``; the same weights every time.

    Args:
        sizes: arguments of the builder.
    """
    with torch.random.fork_rng():
        torch.manual_seed(20240611)
        model, processor = BUILDERS[host](**sizes)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def main() -> None:
    """``python -m evals.checkpoints HOST FOLDER``: a checkpoint for trying things where there is no real one."""
    parser = argparse.ArgumentParser(description="Write a tiny checkpoint with random weights.")
    parser.add_argument("host", choices=BUILDERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, help="pixels along a picture (llava_onevision only), a multiple of 8")
    given = parser.parse_args()
    build(given.host, given.folder, **({"side": given.side} if given.side else {}))


if __name__ == "__main__":
    main()
