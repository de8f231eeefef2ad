"""What a profile lacks on this machine, found without loading a model."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from configs.build import at_key
from configs.profile import Backend, Profile
from tools.errors import LoupeError, ProfileError, did_you_mean
from tools.registry import Registry


@dataclass(frozen=True)
class Finding:
    """The state of one choice in a profile.

    Attributes:
        key: dotted key in the profile, the one at fault where something is wrong.
        ok: whether it can be used.
        message: what is there or what is wrong, one clause.
        remedy: what to do about it; empty where all is well.
    """

    key: str
    ok: bool
    message: str
    remedy: str = ""


def check(profile: Profile) -> list[Finding]:
    """One finding for each backend that the profile names: does it exist, is its library installed, does it take these
    options, is its model there. The reasoner is not among them; the agents check it."""
    findings = [_check(registry, key, choice) for registry, key, choice in _choices(profile)]
    if profile.vlm is not None:
        findings.append(_check_vlm(profile.vlm))
    return findings


def _choices(profile: Profile) -> Iterator[tuple[Registry[Any], str, Backend]]:
    from tools import asr, detect, embed, ocr, store

    if profile.asr is not None:
        yield asr.BACKENDS, "asr", profile.asr
    if profile.ocr is not None:
        yield ocr.BACKENDS, "ocr", profile.ocr
    for i, choice in enumerate(profile.detect):
        yield detect.BACKENDS, f"detect.{i}", choice
    yield embed.TEXT_BACKENDS, "text_embedding", profile.text_embedding
    if profile.visual_embedding is not None:
        yield embed.VISUAL_BACKENDS, "visual_embedding", profile.visual_embedding
    yield store.BACKENDS, "store", profile.store


#: Constructor arguments that the program gives; a profile need not.
_INJECTED = ("path", "text_dim", "visual_dim")


def _check(registry: Registry[Any], key: str, choice: Backend) -> Finding:
    try:
        kind = registry.get(choice.backend)
    except ProfileError as error:
        return _finding(at_key(error, key, registry.what))
    except ImportError as error:
        return _not_installed(registry, key, choice, error)
    try:
        return _check_class(kind, f"{registry.what} '{choice.backend}'", key, choice)
    except ImportError as error:
        return _not_installed(registry, key, choice, error)


def _not_installed(registry: Registry[Any], key: str, choice: Backend, error: ImportError) -> Finding:
    return Finding(
        f"{key}.backend",
        False,
        f"{registry.what} '{choice.backend}' needs the Python package '{error.name}', which is not installed",
        "install Loupe with its extra packages: pip install 'loupe-video[models]'",
    )


def _check_class(kind: type, what: str, key: str, choice: Backend) -> Finding:
    parameters = inspect.signature(kind).parameters
    for option in choice.options:
        if option not in parameters:
            return Finding(
                f"{key}.{option}", False, f"{what} has no option '{option}'", did_you_mean(option, parameters)
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in choice.options and name not in _INJECTED:
            return Finding(f"{key}.{name}", False, f"{what} needs the option '{name}'", f"write it under '{key}'")
    probe = getattr(kind, "check", None)
    if probe is not None:
        try:
            problem = probe(**choice.options)
        except ProfileError as error:
            return _finding(at_key(error, key, what))
        if problem is not None:
            return _problem(key, problem)
    elif "download" in parameters:
        return Finding(key, True, f"{what} is installed; whether its model is here shows at the first use")
    model = choice.options.get("model")
    return Finding(key, True, f"{what} is ready" + (f" with {model}" if model else ""))


def _finding(error: LoupeError) -> Finding:
    return Finding(error.field or "profile", False, error.message, error.remedy)


def _problem(key: str, problem: LoupeError | str) -> Finding:
    """What a backend's own ``check`` said: an error, or its sentence."""
    if isinstance(problem, LoupeError):
        inside = problem.field and not problem.field.startswith(key)
        return Finding(
            f"{key}.{problem.field}" if inside else problem.field or key, False, problem.message, problem.remedy
        )
    message, _, remedy = problem.removesuffix(".").partition(": ")
    return Finding(key, False, message, remedy)


def _check_vlm(choice: Backend) -> Finding:
    from tools.vlm.tool import VlmTool

    problem = VlmTool.check(choice.backend, **choice.options)
    if problem is not None:
        return _problem("vlm", problem)
    return Finding("vlm", True, f"vision-language model '{choice.backend}' is ready")
