"""Loads a host from a checkpoint, and says in one sentence what is wrong with one that cannot be used."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from tools.errors import LoupeError, ProfileError, did_you_mean
from tools.packaged import packaged
from tools.vlm.familiar import Familiar
from tools.vlm.host import HOSTS, Host

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_host(
    checkpoint: str | Path,
    *,
    host: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    download: bool = False,
) -> Host:
    """The host of ``checkpoint``, ready to run.

    Args:
        checkpoint: a local folder, a model that comes with Loupe (`tools.packaged`), or the id of one on the hub.
        host: the family it must be; None takes the one that its config names.
        device: where it runs, e.g. "cpu" or "cuda".
        dtype: float32, bfloat16 or float16.
        download: whether an id that is not on this machine may be fetched.

    Raises:
        ProfileError: a checkpoint that is missing, incomplete, damaged or of another class; an unknown host or dtype.
    """
    if dtype not in DTYPES:
        raise ProfileError(f"there is no dtype '{dtype}'", remedy=did_you_mean(dtype, DTYPES), field="dtype")
    place, local = packaged(str(checkpoint)), not download
    adapter = check_checkpoint(place, host=host, download=download)
    model = _weights(adapter, place, DTYPES[dtype], local)
    processor = _processor(place, local)
    try:
        model = model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise ProfileError(
            f"the model cannot run on device '{device}' ({_first_line(error)})",
            remedy="name a device that this machine has, e.g. cpu",
            field="device",
        ) from error
    loaded = adapter(model, processor, str(checkpoint))
    folder = _folder(place)
    loaded.familiar = Familiar.load(folder) if folder is not None else None
    return loaded


def check_checkpoint(checkpoint: str | Path, *, host: str | None = None, download: bool = False) -> type[Host]:
    """The host class of ``checkpoint``, from its config and the heads of its files alone.

    Raises:
        ProfileError: a checkpoint that is not there, is only half there, or is of another class; an unknown host.
    """
    if host is not None:
        HOSTS.get(host)
    place, local = packaged(str(checkpoint)), not download
    _refuse_missing(place)
    kind = _model_type(place, local)
    _refuse_half(place)
    known = {HOSTS.get(name).model_type: name for name in HOSTS.names()}
    if kind not in known or (host is not None and known[kind] != host):
        wanted = HOSTS.get(host).model_class if host is not None else f"one of the hosts {', '.join(HOSTS.names())}"
        raise ProfileError(
            f"'{place}' is a checkpoint of a '{kind}' model, not of {wanted}",
            remedy="name a checkpoint of that class, or the host that belongs to this one",
            field="model",
        )
    return HOSTS.get(known[kind])


def _refuse_missing(place: str) -> None:
    looks_local = Path(place).is_absolute() or place.startswith((".", "~")) or place.count("/") > 1
    if looks_local and not Path(place).is_dir():
        raise ProfileError(
            f"there is no checkpoint folder '{place}'",
            remedy="put the model's files there, or name another folder",
            field="model",
        )
    if Path(place).is_dir() and not (Path(place) / "config.json").is_file():
        raise ProfileError(
            f"the folder '{place}' has no config.json, so it is no checkpoint or an unfinished download",
            remedy="download the model again",
            field="model",
        )


def _refuse_half(place: str) -> None:
    """Refuses a checkpoint of whose weight files some are absent or cut off, by their names and headers alone."""
    folder = _folder(place)
    if folder is None:
        return
    for pattern in ("*.safetensors", "*.bin"):
        found = sorted(folder.glob(pattern))
        wanted = {name for index in folder.glob(f"{pattern}.index.json") for name in _shards(index)}
        absent = sorted(wanted - {file.name for file in found})
        if absent:
            raise _damaged(place, f"{len(absent)} of its {len(wanted)} weight files are not there, e.g. {absent[0]}")
        if pattern == "*.safetensors":
            for file in found:
                if file.stat().st_size != _size(file):
                    raise _damaged(place, f"{file.name} is cut off")
        if found:
            return
    raise _damaged(place, "it has no weights")


def _folder(place: str) -> Path | None:
    """Where the files of a checkpoint lie, None where that is not known before it is fetched."""
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(place, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def _shards(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(str(index.parent), f"{index.name} is damaged") from error


def _size(file: Path) -> int:
    """The size that a safetensors file says it has, -1 where its head is damaged."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            # Nothing but weights is that long: the first bytes are no length.
            header = json.loads(stream.read(length)) if length < 1 << 28 else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + length + max(ends, default=-1)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return -1


def _model_type(place: str, local: bool) -> str:
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(place, local_files_only=local)
    except (OSError, ValueError) as error:
        raise _unusable(place, local, error) from error
    return str(config.get("model_type", "unknown"))


def _weights(adapter: type[Host], place: str, dtype: torch.dtype, local: bool) -> Any:
    import transformers

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    cls = getattr(transformers, adapter.model_class)
    try:
        model, info = cls.from_pretrained(
            place, dtype=dtype, attn_implementation="sdpa", local_files_only=local, output_loading_info=True
        )
    except LoupeError:
        raise
    except Exception as error:
        # Torn weight files surface as errors of half a dozen libraries; all mean the same to the user.
        raise _unusable(place, local, error) from error
    absent = sorted(info["missing_keys"]) + sorted(str(key) for key in info.get("mismatched_keys", ()))
    if absent:
        # transformers would fill these with random numbers and answer nonsense.
        raise ProfileError(
            f"the checkpoint '{place}' lacks {len(absent)} of the weights of {adapter.model_class}, e.g. '{absent[0]}'",
            remedy="download the model again, all its files",
            field="model",
        )
    return model


def _processor(place: str, local: bool) -> Any:
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(place, local_files_only=local)
    except Exception as error:
        raise _unusable(place, local, error) from error
    if not hasattr(processor, "tokenizer") or getattr(processor, "chat_template", None) is None:
        raise ProfileError(
            f"the checkpoint '{place}' has no complete processor (tokenizer and chat template)",
            remedy="download all of the model's files, not only its weights",
            field="model",
        )
    return processor


def _unusable(place: str, local: bool, error: Exception) -> ProfileError:
    if not Path(place).is_dir() and local:
        return ProfileError(
            f"the model '{place}' is not on this machine",
            remedy=f"fetch it once with `hf download {place}`, or set download: true in the profile",
            field="model",
        )
    return _damaged(place, _first_line(error))


def _damaged(place: str, why: str) -> ProfileError:
    return ProfileError(
        f"the checkpoint '{place}' cannot be read ({why})",
        remedy="download the model again, all its files",
        field="model",
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
