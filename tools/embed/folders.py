"""Where a model's files lie on this machine."""

from pathlib import Path

from tools.errors import ProfileError
from tools.packaged import packaged

#: Files of other frameworks, which Loupe never reads.
_OTHER_FORMATS = ["*.onnx", "*.h5", "*.msgpack", "*.ot", "onnx/*", "openvino/*", "*.gguf"]


def model_folder(model: str, *, download: bool = False) -> Path:
    """The folder of a model named by local path, as one that comes with Loupe, or by id on the hub.

    Args:
        download: whether an id that is not on this machine is fetched.

    Raises:
        ProfileError: if it is not there; ``field`` is "model".
    """
    folder = Path(packaged(model)).expanduser()
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        if model.count("/") > 1 or model.startswith((".", "~", "/")):
            raise ProfileError(
                f"there is no model folder '{model}'",
                remedy="put the model's files there, or name another",
                field="model",
            )
        try:
            folder = Path(snapshot_download(model, local_files_only=not download, ignore_patterns=_OTHER_FORMATS))
        except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
            remedy = f"run 'hf download {model}', or name a local folder"
            if not download:
                remedy += ", or write 'download: true' beside it"
            raise ProfileError(f"the model '{model}' is not on this machine", remedy=remedy, field="model") from error
    weights = any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "pytorch_model*.bin"))
    if not weights or not (folder / "config.json").is_file():
        raise ProfileError(
            f"the model folder '{folder}' lacks config.json or its weights (*.safetensors or pytorch_model*.bin)",
            remedy="download the model again",
            field="model",
        )
    return folder


def missing(model: str, *, download: bool = False) -> ProfileError | None:
    """What `model_folder` would raise, without fetching anything; None if nothing, or if the model may be fetched."""
    try:
        model_folder(model)
    except ProfileError as error:
        return None if download and not Path(model).is_dir() else error
    return None
