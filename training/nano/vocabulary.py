"""The words of the nano models: a small byte-level BPE learnt from the scenes' sentences, and the chat around it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, START, END = "<pad>", "<|im_start|>", "<|im_end|>"
IMAGE, VIDEO = "<image>", "<video>"
VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"

#: In this order: CLIP's text tower reads a text at its end token, and takes an end token numbered 2 for the mistaken
#: configuration of its first checkpoints, which is read otherwise.
SPECIALS = (PAD, START, IMAGE, END, VIDEO, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD)

#: What stands around a question and an answer; the templates below say the same in Jinja.
OPENING = f"{START}user\n"
TURN = f"{END}\n{START}assistant\n"

_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% elif c['type'] == 'video' %}VIDEO"
    "{% else %}{{ c['text'] | trim }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAVA_CHAT = _CHAT.replace("IMAGE", f"{IMAGE}\n")
QWEN_CHAT = _CHAT.replace("IMAGE", f"{VISION_START}{IMAGE_PAD}{VISION_END}").replace(
    "VIDEO", f"{VISION_START}{VIDEO_PAD}{VISION_END}"
)

# Digits and letters of words in capitals are tokens of their own: a word that was never seen is still read, letter by
# letter, and a number is not one of a hundred names.
_SPELLED = Regex(r"[0-9]|(?<=[A-Z])[A-Z]|[A-Z](?=[A-Z])")


def id_of(tokenizer: Tokenizer, token: str) -> int:
    """The number of a token that there must be."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the tokenizer has no token '{token}'")
    return found


def beginnings(word: str, tokenizer: Tokenizer) -> list[int]:
    """The tokens with which a word begins, at the start of a text and inside it."""
    # A letter stands alone behind its space.
    inside = tokenizer.encode(f"a {word}").ids[len(tokenizer.encode("a").ids) :]
    return [tokenizer.encode(word).ids[0], inside[-1] if len(word) == 1 else inside[0]]


def learn(sentences: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE of at most ``size`` tokens; the same sentences give the same tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_SPELLED, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator([OPENING, TURN, *sentences], trainer)
    return raw


def for_chat(raw: Tokenizer) -> "PreTrainedTokenizerFast":
    """The tokenizer of the language models."""
    return _wrapped(raw)


def for_search(raw: Tokenizer, longest: int) -> "PreTrainedTokenizerFast":
    """The tokenizer of the contrastive text tower: the same tokens, and every text ends with the end token."""
    ending = Tokenizer.from_str(raw.to_str())
    ending.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A $B {END}", special_tokens=[(END, raw.token_to_id(END))]
    )
    return _wrapped(ending, model_max_length=longest)


def _wrapped(raw: Tokenizer, **more: Any) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token=PAD, eos_token=END, **more)
