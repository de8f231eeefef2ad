"""From a YAML file to a profile. Every mistake in it is one sentence that names the key."""

import os
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from configs.profile import UNKNOWN_KEY, Profile
from tools.errors import ProfileError, did_you_mean

DEFAULT_PROFILE = "embedded"

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def home_dir() -> Path:
    """The data directory: ``LOUPE_HOME``, or ``~/.loupe``. It need not exist."""
    return Path(os.environ.get("LOUPE_HOME") or "~/.loupe").expanduser().absolute()


def profile_names() -> list[str]:
    """Names of the profiles that come with Loupe, sorted."""
    return sorted(file.name.removesuffix(".yaml") for file in _packaged().iterdir() if file.name.endswith(".yaml"))


def load_profile(name_or_path: str | None = None) -> Profile:
    """The profile of that name, or in that YAML file.

    ``${VAR}`` and ``${VAR:-default}`` in values are replaced from the environment; a value without quotes is read as
    YAML after that, so a number stays a number.

    Args:
        name_or_path: None means ``LOUPE_PROFILE``, or "embedded".

    Raises:
        ProfileError: no such profile, not YAML, an unknown key or a wrong value; ``field`` is the dotted key.
    """
    wanted = name_or_path or os.environ.get("LOUPE_PROFILE") or DEFAULT_PROFILE
    name, text = _read(wanted)
    try:
        data = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ProfileError(
            f"profile '{wanted}' is not readable YAML ({_where(error)})", remedy="correct the file", field="profile"
        ) from error
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ProfileError(
            f"profile '{wanted}' holds a {type(data).__name__} where keys are expected",
            remedy="begin with a key such as 'asr:'",
            field="profile",
        )
    try:
        return Profile.model_validate({"name": name, **data})
    except ValidationError as error:
        raise _profile_error(error, wanted) from error


def _packaged() -> Traversable:
    return resources.files("configs")


def _read(wanted: str) -> tuple[str, str]:
    if wanted in profile_names():
        return wanted, (_packaged() / f"{wanted}.yaml").read_text("utf-8")
    path = Path(wanted).expanduser()
    if path.suffix.lower() not in (".yaml", ".yml") and os.sep not in wanted:
        remedy = f"{did_you_mean(wanted, profile_names())}; or give the path of a YAML file"
        raise ProfileError(f"there is no profile '{wanted}'", remedy=remedy, field="profile")
    try:
        return path.stem, path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ProfileError(
            f"the profile file '{wanted}' cannot be read ({reason})", remedy="check the path", field="profile"
        ) from error


class _Loader(yaml.SafeLoader):
    """Safe YAML with variables from the environment, in which a key that stands twice is an error."""

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if "${" in node.value:
            node.value = _VARIABLE.sub(_expand, node.value)
            if node.style is None:
                node.tag = self.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _expand(match: re.Match[str]) -> str:
    # As in a shell, ":-" also replaces a variable that is set but empty.
    value = os.environ.get(match["name"]) or match["default"]
    if value is None:
        raise ProfileError(
            f"the profile needs the environment variable {match['name']}, which is not set",
            remedy=f"set it, or write ${{{match['name']}:-default}} in the profile",
            field=match["name"],
        )
    return value


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error)


def _profile_error(error: ValidationError, wanted: str) -> ProfileError:
    first = error.errors(include_url=False)[0]
    # A key of a union is reported under its member's name; only names that stand in the file help.
    place = [str(part) for part in first["loc"] if not (isinstance(part, str) and part[:1].isupper())]
    if first["type"] == UNKNOWN_KEY:
        field = ".".join([*place, first["ctx"]["key"]])
        return ProfileError(
            f"profile '{wanted}' has an unknown key '{field}'", remedy=first["ctx"]["remedy"], field=field
        )
    field = ".".join(place) or "profile"
    problem = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    value = "" if isinstance(first["input"], dict) or "token" in field else f", not {first['input']!r}"
    return ProfileError(
        f"profile '{wanted}': '{field}' {problem}{value}", remedy="correct the value in the profile", field=field
    )
