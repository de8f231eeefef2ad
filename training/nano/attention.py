"""Attention as plain products over blocks of rows: with the small heads of nano models a processor trains twice as fast
with it as with fused kernels, which have to be told masks element by element."""

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from training.nano.models import Models

#: Rows that are multiplied at once; what a causal block can't see is not multiplied at all.
_ROWS = 256
#: What is added to a product that may not count.
NEVER = -1e4


Weigh = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def by_rows(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    weigh: Weigh | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention for transformers' interface.

    Args:
        query: ``[B, H, S, D]``; ``key`` and ``value`` may have fewer heads.
        attention_mask: ``[B, 1, S, S]`` in the query's dtype, added to the products: `NEVER` where nothing may be seen,
            which is so everywhere above the diagonal. None if everything may be seen.
        weigh: does the work of one block.

    Returns:
        ``[B, S, H, D]``, and no weights.
    """
    weigh = weigh or _weighed
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is None:
        return weigh(query, key, value, None).transpose(1, 2), None
    found = []
    for start in range(0, query.shape[2], _ROWS):
        end = min(start + _ROWS, query.shape[2])
        mask = attention_mask[:, :, start:end, :end]
        found.append(weigh(query[:, :, start:end], key[:, :, :end], value[:, :, :end], mask))
    return torch.cat(found, dim=2).transpose(1, 2), None


def _weighed(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    products = query @ key.transpose(-1, -2)
    if mask is not None:
        products = products + mask
    # Half precision is enough for weights; the sums inside are float32 all the same.
    with torch.autocast(products.device.type, enabled=False):
        return products.softmax(-1).to(value.dtype) @ value


def side_by_side(block: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """What a block of Qwen2.5-VL's tower makes of pictures of one size, all of them at once; the class itself goes
    through them one by one, which takes several times as long.

    Args:
        hidden: ``[P, S, D]``, the patches of every picture, which is no larger than a window.
        cos, sin: ``[S, D / heads]``, of a patch's place.
    """
    attention = block.attn
    whole = attention.qkv(block.norm1(hidden)).unflatten(-1, (3, attention.num_heads, -1))
    query, key, value = whole.unbind(2)
    query, key = apply_rotary_pos_emb_vision(query, key, cos, sin)
    query = query * attention.scaling
    found = _weighed(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), None)
    hidden = hidden + attention.proj(found.transpose(1, 2).flatten(2))
    result: Tensor = hidden + block.mlp(block.norm2(hidden))
    return result


def blocks(models: Models, *, fused: bool) -> list[Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """`side_by_side` of every block of a Qwen2.5-VL tower, compiled where layers are."""
    found = [partial(side_by_side, block) for block in models.host.model.visual.blocks]
    return [_of_any_size(torch.compile(block)) for block in found] if fused else list(found)


def fuse(models: Models) -> bool:
    """Compiles what the layers of models on a processor do besides multiplying matrices, where there is a compiler; a
    step is then about a third faster, and starts a minute later.

    Returns:
        Whether there is a compiler.
    """
    if shutil.which("g++") is None:
        return False
    # Held towers, single samples and validation are compiled on their own; lengths that happen to be equal are not.
    torch._dynamo.config.recompile_limit = 64
    torch.fx.experimental._config.use_duck_shape = False
    weigh = _of_any_size(torch.compile(_weighed))

    # Its loop over blocks would be compiled anew for every length.
    attend = torch.compiler.disable(by_rows, recursive=False)  # type: ignore[no-untyped-call]
    AttentionInterface.register(FUSED, partial(attend, weigh=weigh))
    models.host.set_attn_implementation(FUSED)
    for name, layers in models.host.named_modules():
        if name.endswith(".layers"):
            for layer in layers:
                layer.forward = _of_any_size(torch.compile(layer.forward))
    return True


def _of_any_size(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled function that is compiled once for all numbers of samples and all lengths, but for one width."""

    def call(*args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()):
            for tensor in value if isinstance(value, tuple) else (value,):
                if isinstance(tensor, Tensor) and tensor.ndim > 2:
                    # [B, S, D], or [B, H, S, D] and [B, 1, S, S]
                    for dim in (0, 1) if tensor.ndim == 3 else (0, 2, *((3,) if tensor.shape[1] == 1 else ())):
                        torch._dynamo.maybe_mark_dynamic(tensor, dim)
        return compiled(*args, **options)

    # Marking is nothing to be compiled; what is called is.
    alone: Callable[..., Any] = torch.compiler.disable(call, recursive=False)  # type: ignore[no-untyped-call]
    return alone


#: The names under which models find it.
BY_ROWS, FUSED = "by_rows", "fused_by_rows"
AttentionInterface.register(BY_ROWS, by_rows)
