"""Tools that are built at their first call, so that starting Loupe loads no model that is not used."""

import inspect
import threading
from collections.abc import Callable
from typing import Any


class Lazy:
    """Stands for an object until somebody calls a method of it; builds it once, whichever thread comes first.

    A failed construction is not remembered: the next call tries again, so that a model put in place meanwhile is found.

    Args:
        kind: imports and returns the class; cheap.
        build: makes the object; may be slow.
    """

    def __init__(self, kind: Callable[[], type], build: Callable[[], Any]) -> None:
        self._kind = kind
        self._build = build
        self._lock = threading.RLock()
        self._object: Any = None

    @property
    def built(self) -> bool:
        """Whether the object exists."""
        return self._object is not None

    def get(self) -> Any:
        """The object itself."""
        if self._object is None:
            with self._lock:
                if self._object is None:
                    self._object = self._build()
        return self._object

    def close(self) -> None:
        """Closes the object if it was built and can be closed."""
        close = getattr(self._object, "close", None)
        if close is not None:
            close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._object is not None:
            return getattr(self._object, name)
        # Looking a method up must stay cheap, for it happens on the event loop; building happens in the call, which
        # runs in a worker thread. What is no method can only be read from the object.
        if not callable(inspect.getattr_static(self._kind(), name, None)):
            return getattr(self.get(), name)
        return lambda *args, **kwargs: getattr(self.get(), name)(*args, **kwargs)
