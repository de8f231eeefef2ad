"""Plug-ins by file: a module in a package is a plug-in named after the module, and adding one is adding a file."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from tools.errors import ProfileError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """The plug-ins of one package.

    Every public module of ``package`` holds exactly one concrete class derived from ``base``; its name in profiles,
    commands and requests is the module's name. Modules are imported when they are asked for, so heavy libraries load
    only with the plug-in that uses them.

    Args:
        package: dotted name of the package that holds the modules.
        base: the class that every plug-in derives from.
        what: the word for one of them in error messages, e.g. "OCR backend".
    """

    def __init__(self, package: str, base: type[T], what: str) -> None:
        self.package = package
        self.base = base
        self.what = what
        self._extra: dict[str, type[T]] = {}

    def names(self) -> list[str]:
        """Names of all plug-ins, sorted; imports none of them."""
        paths = importlib.import_module(self.package).__path__
        found = {module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_")}
        return sorted(found | self._extra.keys())

    def get(self, name: str) -> type[T]:
        """The plug-in class called ``name``.

        Raises:
            ProfileError: if there is none.
        """
        if name in self._extra:
            return self._extra[name]
        if name not in self.names():
            raise ProfileError(
                f"there is no {self.what} called '{name}'",
                remedy=did_you_mean(name, self.names()),
                field=self.what,
            )
        module = importlib.import_module(f"{self.package}.{name}")
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, self.base)
            and value.__module__ == module.__name__
            and not inspect.isabstract(value)
            and not value.__name__.startswith("_")
        ]
        if len(classes) != 1:
            raise TypeError(f"{module.__name__} must define exactly one {self.base.__name__}, found {classes}")
        return classes[0]

    def create(self, name: str, options: Mapping[str, Any] | None = None, /, **injected: Any) -> T:
        """Builds the plug-in called ``name`` from the options of a profile.

        Args:
            options: keyword arguments written by the user; unknown ones are refused with the nearest known name.
            injected: further keyword arguments given by the program.

        Raises:
            ProfileError: unknown plug-in, or an option that it does not have.
        """
        kind = self.get(name)
        known = [key for key in inspect.signature(kind).parameters if key not in injected]
        for key in options or {}:
            if key not in known:
                raise ProfileError(
                    f"{self.what} '{name}' has no option '{key}'", remedy=did_you_mean(key, known), field=key
                )
        return kind(**(options or {}), **injected)

    def register(self, name: str, kind: type[T]) -> None:
        """Adds a plug-in that lives outside the package."""
        self._extra[name] = kind

    def unregister(self, name: str) -> None:
        """Takes away what ``register`` added."""
        del self._extra[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()
