"""From a profile to tools. Nothing heavy is imported before a tool is built."""

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from configs.lazy import Lazy
from configs.profile import TOOLS, Backend, Profile
from tools.errors import ProfileError, ToolUnavailable
from tools.registry import Registry

if TYPE_CHECKING:
    from tools.media.library import Library

T = TypeVar("T")


def build_tool(profile: Profile, name: str, library: "Library", home: Path) -> object:
    """The tool ``name``, ready for use.

    Args:
        name: one of ``TOOLS``.
        home: data directory; the store lies under ``home/store`` unless the profile says otherwise.

    Raises:
        ToolUnavailable: if the profile has no such tool.
        ProfileError: a backend or an option that does not exist, or a model that is missing; ``field`` is the key.
    """
    if name not in tool_names(profile):
        raise ToolUnavailable(
            f"profile '{profile.name}' has no tool '{name}'",
            remedy=f"name a backend under '{name}' in the profile",
            field=name,
        )
    builders: dict[str, Callable[[], object]] = {
        "media": lambda: _media(profile, library),
        "asr": lambda: _asr(profile, library),
        "ocr": lambda: _ocr(profile),
        "detect": lambda: _detect(profile),
        "embed": lambda: _embed(profile),
        "store": lambda: _store(profile, home),
        "vlm": lambda: _vlm(profile),
    }
    return builders[name]()


def build_tools(profile: Profile, library: "Library", home: Path) -> dict[str, object]:
    """All tools of the profile by name; each is built at its first call."""
    return {
        name: Lazy(partial(_tool_class, profile, name), partial(build_tool, profile, name, library, home))
        for name in tool_names(profile)
    }


def tool_names(profile: Profile) -> list[str]:
    """The tools that the profile has, in the order of ``TOOLS``."""
    absent = {name for name in ("asr", "ocr", "vlm") if getattr(profile, name) is None}
    if not profile.detect:
        absent.add("detect")
    return [name for name in TOOLS if name not in absent]


def create(registry: Registry[T], key: str, choice: Backend, **injected: Any) -> T:
    """The plug-in that ``choice`` names, with its errors pointing at the profile key.

    Args:
        key: dotted key of ``choice`` in the profile.
        injected: arguments given by the program; the profile cannot set them.

    Raises:
        ProfileError: as `Registry.create`, or as the plug-in's constructor.
    """
    try:
        return registry.create(choice.backend, choice.options, **injected)
    except ProfileError as error:
        raise at_key(error, key, registry.what) from error
    except ImportError as error:
        raise ProfileError(
            f"{registry.what} '{choice.backend}' needs the Python package '{error.name}', which is not installed",
            remedy="install Loupe with its extra packages: pip install 'loupe-video[models]'",
            field=f"{key}.backend",
        ) from error


def at_key(error: ProfileError, key: str, what: str) -> ProfileError:
    """The same error with the dotted profile key as its field."""
    inner = "backend" if error.field == what else error.field
    return ProfileError(error.message, remedy=error.remedy, field=f"{key}.{inner}" if inner else key)


def _media(profile: Profile, library: "Library") -> object:
    from tools.media.tool import MediaTool

    return MediaTool(library, cache_mb=profile.media.cache_mb)


def _asr(profile: Profile, library: "Library") -> object:
    from tools.asr import BACKENDS
    from tools.asr.tool import AsrTool

    assert profile.asr is not None
    return AsrTool(create(BACKENDS, "asr", profile.asr), library)


def _ocr(profile: Profile) -> object:
    from tools.ocr import BACKENDS
    from tools.ocr.tool import OcrTool

    assert profile.ocr is not None
    return OcrTool(create(BACKENDS, "ocr", profile.ocr))


def _detect(profile: Profile) -> object:
    from tools.detect import BACKENDS
    from tools.detect.tool import DetectTool

    return DetectTool([create(BACKENDS, f"detect.{i}", choice) for i, choice in enumerate(profile.detect)])


def _embed(profile: Profile) -> object:
    from tools.embed import TEXT_BACKENDS, VISUAL_BACKENDS
    from tools.embed.tool import EmbedTool

    text = create(TEXT_BACKENDS, "text_embedding", profile.text_embedding)
    if profile.visual_embedding is None:
        return EmbedTool(text, None)
    return EmbedTool(text, create(VISUAL_BACKENDS, "visual_embedding", profile.visual_embedding))


def _store(profile: Profile, home: Path) -> object:
    from tools.embed.tool import EmbedTool
    from tools.store import BACKENDS

    # Embedders load their weights at the first text or picture: asking for sizes reads their configuration only.
    embed = _embed(profile)
    assert isinstance(embed, EmbedTool)
    text_dim, visual_dim = embed.dims()
    injected: dict[str, Any] = {"text_dim": text_dim, "visual_dim": visual_dim}
    kind = _store_class(profile)
    if "path" in inspect.signature(kind).parameters and "path" not in profile.store.options:
        injected["path"] = home / "store"
    return create(BACKENDS, "store", profile.store, **injected)


def _vlm(profile: Profile) -> object:
    from tools.vlm.tool import VlmTool

    assert profile.vlm is not None
    try:
        return VlmTool.of(profile.vlm.backend, profile.vlm.options)
    except ProfileError as error:
        raise at_key(error, "vlm", "VLM host") from error


def _store_class(profile: Profile) -> type:
    from tools.store import BACKENDS

    try:
        return BACKENDS.get(profile.store.backend)
    except ProfileError as error:
        raise at_key(error, "store", BACKENDS.what) from error


def _tool_class(profile: Profile, name: str) -> type:
    if name == "store":
        return _store_class(profile)
    kind: type = getattr(importlib.import_module(f"tools.{name}.tool"), f"{name.capitalize()}Tool")
    return kind
