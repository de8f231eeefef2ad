"""The tool `detect`: all detectors of a profile behind one call."""

from collections.abc import Iterable, Sequence

from tools.detect import DetectBackend, Detection, ObjectTrack
from tools.detect.tracks import link
from tools.media.frames import Frames


class DetectTool:
    """Asks every detector that knows a label. Safe to call from several threads.

    A label that no detector knows is not looked for: it gives no tracks, and no error. Callers learn from `labels`
    what can be asked; None there means any label.

    Args:
        backends: detectors, at least one.
    """

    def __init__(self, backends: Sequence[DetectBackend]) -> None:
        if not backends:
            raise ValueError("a detection tool needs at least one detector")
        self._backends = tuple(backends)

    @property
    def model(self) -> str:
        """What evidence names as its model: the detectors' names joined by ``+``."""
        return "+".join(backend.model for backend in self._backends)

    def model_name(self) -> str:
        """`model`, for callers that reach only methods."""
        return self.model

    def labels(self) -> tuple[str, ...] | None:
        """Every label that can be asked for, sorted; None when a detector with an open vocabulary takes any."""
        known: set[str] = set()
        for backend in self._backends:
            labels = backend.labels()
            if labels is None:
                return None
            known.update(labels)
        return tuple(sorted(known))

    def detect(self, frames: Frames, labels: Sequence[str], until: float) -> list[ObjectTrack]:
        """Things in ``frames``, followed over time, in order of their first appearance.

        Args:
            frames: pictures of one view; each holds until the next one.
            labels: what to look for, in any case; attributes may stand before a label ("red moving object"). None
                means everything that the detectors know.
            until: seconds at which the last frame ends.
        """
        wanted = list(dict.fromkeys(" ".join(label.casefold().split()) for label in labels))
        found: list[Detection] = []
        for backend in self._backends:
            if not wanted:
                found += backend.detect(frames, ())
                continue
            asked = {label: part for label in wanted if (part := _ask(backend, label)) is not None}
            if asked:
                plain = list(dict.fromkeys(name for name, _ in asked.values()))
                seen = backend.detect(frames, plain)
                found += [one for one in seen if _fits(one, asked.values())]
        return link(found, [float(time) for time in frames.times], until)


def _ask(backend: DetectBackend, label: str) -> tuple[str, frozenset[str]] | None:
    """The backend's own label for ``label`` and the attributes asked with it, or None if it knows no such thing."""
    known = backend.labels()
    if known is None or label in known:
        return label, frozenset()
    for name in known:
        if label.endswith(f" {name}"):
            words = frozenset(label.removesuffix(name).split())
            if words <= set(backend.attributes):
                return name, words
    return None


def _fits(one: Detection, asked: Iterable[tuple[str, frozenset[str]]]) -> bool:
    return any(one.label == name and words <= set(one.attributes) for name, words in asked)
