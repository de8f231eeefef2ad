"""The models that are trained: unmodified transformers classes with their processors, and how they are written out."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from evals.synth.scenes import CLASSES, COURSES, PATCH, SIDE
from training.nano.config import Sizes
from training.nano.vocabulary import (
    END,
    IMAGE,
    IMAGE_PAD,
    LLAVA_CHAT,
    PAD,
    QWEN_CHAT,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
    for_chat,
    for_search,
    id_of,
)

#: Patches along a picture.
GRID = SIDE // PATCH
#: Most tokens of a text that is searched with.
LONGEST = 160
#: Linear layers whose output is added to what went in.
_LAST = ("out_proj", "fc2", "o_proj", "down_proj", "proj")
#: Folder of the contrastive model inside the checkpoint's.
SEARCH = "search"


@dataclass(frozen=True)
class Models:
    """A nano model.

    Attributes:
        host: the vision-language model.
        search: CLIP around the host's own vision tower, None without one.
        heads: what is read off every visual token while the tower learns; not exported.
        courses: the same of what has become of the thing that it shows, read off the decoder's middle; not exported.
        tokenizer: the tokens of both.
    """

    host: Any
    search: Any | None
    heads: nn.ModuleDict
    courses: nn.ModuleDict
    tokenizer: Tokenizer

    def parts(self) -> nn.ModuleDict:
        """All that is trained, each parameter once."""
        parts = {"host": self.host, "heads": self.heads, "courses": self.courses}
        if self.search is not None:
            parts["search"] = self.search
        return nn.ModuleDict(parts)


def build(sizes: Sizes, tokenizer: Tokenizer) -> Models:
    """Models with random weights from torch's generator."""
    host = _llava(sizes, tokenizer) if sizes.family == "llava" else _qwen(sizes, tokenizer)
    _begin(host)
    host.generation_config.eos_token_id = id_of(tokenizer, END)
    host.generation_config.pad_token_id = id_of(tokenizer, PAD)
    # A Qwen token stands for 2 x 2 patches and is asked for all four.
    width, patches = (sizes.vision[0], 1) if sizes.family == "llava" else (sizes.text[0], 4)
    read = {kind: CLASSES[kind] for kind in sizes.labels}
    heads = nn.ModuleDict({kind: nn.Linear(width, patches * len(names)) for kind, names in read.items()})
    courses = nn.ModuleDict({kind: nn.Linear(sizes.text[0], patches * len(names)) for kind, names in COURSES.items()})
    return Models(host, _search(sizes, host, tokenizer), heads, courses, tokenizer)


def _begin(host: Any) -> None:
    """Draws the first weights so that narrow models trained for an hour get anywhere.

    The classes' own spread of 0.02 is for models ten times as wide. And a tower has to find out from examples which
    patches are neighbours: sines over rows and columns where places are learnt (Beyer et al., arXiv:2205.01580), and
    keys that begin as queries so that patches attend to what is like them and near them (after Trockman and Kolter,
    arXiv:2305.09828), tell it beforehand. It then needs about half the pictures. The same in the decoder lets a word
    find the patches that lie close to it, and a patch those that show the same thing in earlier frames.
    """
    for layers in (module for name, module in host.named_modules() if name.endswith((".layers", ".blocks"))):
        for name, module in layers.named_modules():
            if isinstance(module, nn.Linear):
                last = (2 * len(layers)) ** -0.5 if name.split(".")[-1] in _LAST else 1.0
                nn.init.normal_(module.weight, std=module.in_features**-0.5 * last)
    with torch.no_grad():
        for layer in host.model.language_model.layers:
            attention = layer.self_attn
            keys = attention.k_proj.weight.unflatten(0, (-1, attention.head_dim))
            groups = attention.q_proj.out_features // attention.k_proj.out_features
            attention.q_proj.weight.copy_(keys.repeat_interleave(groups, 0).flatten(0, 1))
        if isinstance(host, LlavaForConditionalGeneration):
            tower = host.model.vision_tower
            tower.embeddings.position_embedding.weight[0].zero_()
            tower.embeddings.position_embedding.weight[1:] = _places(tower.config.hidden_size)
            for layer in tower.encoder.layers:
                layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
        else:
            for block in host.model.visual.blocks:
                queries, keys, _ = block.attn.qkv.weight.chunk(3)
                keys.copy_(queries)


def _places(width: int) -> torch.Tensor:
    """``[GRID * GRID, width]``: sines and cosines of a patch's row, then of its column, about as strong as a patch."""
    waves = 1.5 * 30 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(GRID)[:, None] * waves
    one = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = one[:, None].expand(GRID, GRID, -1), one[None].expand(GRID, GRID, -1)
    return 0.5 * torch.cat([rows, columns], dim=-1).flatten(0, 1)


def export(models: Models, sizes: Sizes, folder: Path, *, temperature: float = 1.0) -> Path:
    """Writes what ``tools.vlm`` and ``tools.embed`` load, in bfloat16.

    Args:
        temperature: what the logits are divided by where a confidence is read off them.
    """
    host = copy.deepcopy(models.host).to(device="cpu", dtype=torch.bfloat16)
    host.config.confidence_temperature = temperature
    host.save_pretrained(folder)
    _processor(sizes, models.tokenizer).save_pretrained(folder)
    if models.search is not None:
        copy.deepcopy(models.search).to(device="cpu", dtype=torch.bfloat16).save_pretrained(folder / SEARCH)
        _pictures().save_pretrained(folder / SEARCH)
        for_search(models.tokenizer, LONGEST).save_pretrained(folder / SEARCH)
    return folder


def parameters(module: nn.Module) -> int:
    """How many numbers are trained in it."""
    return sum(parameter.numel() for parameter in module.parameters())


def _text(sizes: Sizes, tokenizer: Tokenizer, **more: Any) -> dict[str, Any]:
    width, layers, heads, inner = sizes.text
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": sizes.groups,
        "intermediate_size": inner,
        "max_position_embeddings": sizes.context,
        "pad_token_id": id_of(tokenizer, PAD),
        "bos_token_id": None,
        "eos_token_id": id_of(tokenizer, END),
        "tie_word_embeddings": True,
        **more,
    }


def _llava(sizes: Sizes, tokenizer: Tokenizer) -> Any:
    width, layers, heads, inner = sizes.vision
    vision = CLIPVisionConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        projection_dim=sizes.space,
        image_size=SIDE,
        patch_size=PATCH,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**_text(sizes, tokenizer)),
        image_token_index=id_of(tokenizer, IMAGE),
        # The last layer's: it is there that CLS collects what it is matched by, so its attention is worth reading.
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=GRID * GRID,
        tie_word_embeddings=True,
    )
    return LlavaForConditionalGeneration(config)


def _qwen(sizes: Sizes, tokenizer: Tokenizer) -> Any:
    width, layers, heads, inner = sizes.vision
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": layers,
            "hidden_size": width,
            "intermediate_size": inner,
            "num_heads": heads,
            "out_hidden_size": sizes.text[0],
            "patch_size": PATCH,
            "window_size": SIDE,
            "fullatt_block_indexes": [layers // 2, layers - 1],
            "tokens_per_second": 2,
        },
        text_config=_text(
            sizes,
            tokenizer,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": _sections(sizes.text[0] // sizes.text[2] // 2),
            },
        ),
        tie_word_embeddings=True,
        image_token_id=id_of(tokenizer, IMAGE_PAD),
        video_token_id=id_of(tokenizer, VIDEO_PAD),
        vision_start_token_id=id_of(tokenizer, VISION_START),
        vision_end_token_id=id_of(tokenizer, VISION_END),
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _sections(frequencies: int) -> list[int]:
    """Runs of frequencies, from high to low, that turn with time, row, column, time again and so on: one by one as in
    Qwen3-VL (arXiv:2511.21631), and the last runs longer.

    With one range for each, as large models have it, a narrow model has no frequency of a column that tells it from the
    next, and none of a row that is so low that a word finds what it names from any distance.
    """
    ones, more = divmod(frequencies, 3)
    runs = [1] * (3 * ones)
    return [*runs[: len(runs) - more], *[2] * more]


def _search(sizes: Sizes, host: Any, tokenizer: Tokenizer) -> Any | None:
    if sizes.search is None:
        return None
    width, layers, heads, inner = sizes.search
    text = CLIPTextConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        projection_dim=sizes.space,
        max_position_embeddings=LONGEST,
        pad_token_id=id_of(tokenizer, PAD),
        bos_token_id=id_of(tokenizer, PAD),
        eos_token_id=id_of(tokenizer, END),
    )
    vision = host.config.vision_config
    model = CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=sizes.space)
    )
    # One tower: what it learns by matching captions is what the language model sees, and the other way round.
    model.vision_model = host.model.vision_tower
    return model


def _pictures() -> CLIPImageProcessor:
    # The whole picture whatever its sides are: what is cut off can't be seen.
    return CLIPImageProcessor(size={"height": SIDE, "width": SIDE}, do_center_crop=False)


def _processor(sizes: Sizes, tokenizer: Tokenizer) -> Any:
    words = for_chat(tokenizer)
    if sizes.family == "llava":
        return LlavaProcessor(
            image_processor=_pictures(),
            tokenizer=words,
            patch_size=PATCH,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            image_token=IMAGE,
            chat_template=LLAVA_CHAT,
        )
    # A square of any size becomes SIDE x SIDE; the slack keeps rounding from taking a row of tokens away.
    size = {"shortest_edge": (SIDE - PATCH) ** 2, "longest_edge": (SIDE + 1) ** 2}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, patch_size=PATCH),
        tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(size=size, patch_size=PATCH, cap_pixels_per_frame=False),
        chat_template=QWEN_CHAT,
    )
