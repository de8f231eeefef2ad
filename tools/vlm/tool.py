"""The tool `vlm`: looks at frames with a vision-language model and answers a question about them."""

import inspect
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from tools.errors import BadInput, LoupeError, ProfileError, did_you_mean
from tools.media.frames import Frames
from tools.vlm.compression import Compression
from tools.vlm.engine import Engine, Request, Result
from tools.vlm.host import HOSTS
from tools.vlm.loading import check_checkpoint, load_host
from tools.vlm.look import Look

__all__ = ["Look", "VlmTool"]

#: One call as a batching caller hands it over: positional and keyword arguments of `VlmTool.look`.
Call = tuple[tuple[Any, ...], Mapping[str, Any]]


class VlmTool:
    """Answers questions about frames. The model loads at the first look; safe to call from several threads.

    Args:
        host: family of the checkpoint, e.g. ``llava_onevision``.
        model: local folder or hub id of a checkpoint of that family.
        compression: methods used when a look names none, e.g. ``divprune:keep=0.25+pyramiddrop``.
        device: where it runs, e.g. ``cpu`` or ``cuda``.
        dtype: float32, bfloat16 or float16; by default float32 on a CPU and bfloat16 elsewhere.
        max_new_tokens: longest answer.
        max_frames: most frames that one look takes in; of more, an even choice is made.
        download: whether a hub id that is not on this machine may be fetched.

    Raises:
        ProfileError: an unknown host, or a compression that cannot be read; from the first look also a checkpoint that
            cannot be used, or a compression that does not fit it.
    """

    def __init__(
        self,
        host: str,
        model: str,
        *,
        compression: str | None = None,
        device: str = "cpu",
        dtype: str | None = None,
        max_new_tokens: int = 64,
        max_frames: int = 32,
        download: bool = False,
    ) -> None:
        _refuse_unknown(host)
        if max_frames < 1:
            raise ProfileError(
                f"max_frames={max_frames} lets no frame in", remedy="allow one frame at least", field="max_frames"
            )
        self._host, self._model = host, model
        try:
            self._default = Compression.parse(compression) if compression else Compression.NONE
        except BadInput as error:
            raise _of_profile(error) from error
        self._device, self._download = device, download
        self._dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        self._max_new_tokens, self._max_frames = max_new_tokens, max_frames
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @classmethod
    def of(cls, host: str, options: Mapping[str, Any]) -> Self:
        """The tool with options as a profile has them.

        Raises:
            ProfileError: an option that there is not, or no model; and as the constructor.
        """
        known = set(inspect.signature(cls).parameters) - {"host"}
        for key in options:
            if key not in known:
                raise ProfileError(f"the VLM has no option '{key}'", remedy=did_you_mean(key, known), field=key)
        if not options.get("model"):
            raise ProfileError("the VLM has no 'model'", remedy="name a checkpoint under vlm.model", field="model")
        return cls(host, **options)

    @classmethod
    def check(cls, host: str, model: str | None = None, **options: Any) -> LoupeError | None:
        """What is wrong with these arguments, as far as it shows without loading the model; None if nothing."""
        try:
            tool = cls.of(host, {"model": model, **options})
            check_checkpoint(tool.model, host=host, download=bool(options.get("download", False)))
        except LoupeError as error:
            return error
        return None

    @property
    def model(self) -> str:
        """What evidence names as its model."""
        return self._model

    def look(self, frames: Frames, question: str, method: str | None = None) -> Look:
        """The model's answer to ``question`` about ``frames``.

        Args:
            frames: in order of time.
            question: what to answer.
            method: the compression to use instead of the profile's, e.g. ``fastv:keep=0.5``; ``none`` for no
                compression; ``:tokens=64`` or ``:keep=0.1`` for the profile's with another budget.

        Raises:
            BadInput: a request that cannot be used; found before any model time is spent.
            ProfileError: the checkpoint cannot be used.
        """
        look = self.look_many([((frames, question, method), {})])[0]
        if isinstance(look, LoupeError):
            raise look
        return look

    def look_many(self, calls: Sequence[Call]) -> list[Look | LoupeError]:
        """Several looks at once, decoded in one batch; each call is ``(args, kwargs)`` of `look`.

        A request that cannot be used gives its error and does not disturb the others.

        Raises:
            ProfileError: the checkpoint cannot be used.
        """
        requests = [self._request_or_error(*args, **kwargs) for args, kwargs in calls]
        if any(isinstance(request, Request) for request in requests):
            requests = [self._fitting(request) for request in requests]
        good = [request for request in requests if isinstance(request, Request)]
        # Nothing is loaded for requests that cannot be used.
        results = iter(self._ready().run(good) if good else ())
        looks: list[Look | LoupeError] = []
        for request in requests:
            found = next(results) if isinstance(request, Request) else request
            if isinstance(found, Result):
                assert isinstance(request, Request)
                height, width = request.frames.images.shape[1:3]
                looks.append(self._look(found, height, width))
            else:
                looks.append(found)
        return looks

    def compression(self, method: str | None) -> Compression:
        """The compression that ``method`` asks for.

        Raises:
            BadInput: if it cannot be read, or a bare budget meets a profile whose methods have none.
        """
        if method is None or not method.strip():
            return self._default
        if not method.lstrip().startswith(":"):
            return Compression.parse(method)
        key, _, value = method.strip().removeprefix(":").partition("=")
        try:
            if key == "tokens":
                return self._default.with_budget(tokens=int(value))
            if key == "keep":
                return self._default.with_budget(keep=float(value))
        except ValueError as error:
            raise BadInput(f"'{value}' is no number", remedy=f"write :{key}=number", field="method") from error
        raise BadInput(f"'{method}' is no budget", remedy="write :tokens=64 or :keep=0.1", field="method")

    def _fitting(self, request: Request | LoupeError) -> Request | LoupeError:
        """The request, or what is wrong with the profile's own methods, for which the caller is not to blame."""
        if isinstance(request, Request) and request.compression is self._default:
            try:
                self._default.check(self._ready().host)
            except BadInput as error:
                return _of_profile(error)
        return request

    def _request_or_error(self, *args: Any, **kwargs: Any) -> Request | LoupeError:
        try:
            return self._request(*args, **kwargs)
        except LoupeError as error:
            return error

    def _request(self, frames: Frames, question: str, method: str | None = None) -> Request:
        if len(frames) > self._max_frames:
            index = np.linspace(0, len(frames) - 1, self._max_frames).round().astype(np.int64)
            frames = Frames(frames.times[index], frames.images[index], frames.decoded)
        return Request(frames, question, self.compression(method), self._max_new_tokens)

    def _ready(self) -> Engine:
        with self._lock:
            if self._engine is None:
                host = load_host(
                    self._model, host=self._host, device=self._device, dtype=self._dtype, download=self._download
                )
                self._engine = Engine(host)
            return self._engine

    def _look(self, result: Result, height: int, width: int) -> Look:
        report = result.report.to_dict()
        provenance = result.provenance
        field = self._ready().host.field(height, width)
        report["heat"] = [
            {
                "time": grid.time,
                "part": grid.part,
                "region": field,
                "map": (seen * 255).round().astype(int).tolist(),
                "layers": (layers * 255).round().astype(int).tolist(),
                "mass": mass.astype(int).tolist(),
                "token": token.tolist(),
            }
            for grid, seen, layers, mass, token in zip(
                provenance.grids,
                provenance.maps(),
                provenance.layers(),
                provenance.masses(),
                provenance.tokens(),
                strict=True,
            )
        ]
        return Look(
            text=result.text,
            confidence=result.confidence,
            tokens_in=result.report.tokens_in,
            tokens_kept=result.report.tokens_kept,
            model=self._model,
            report=report,
        )


def _of_profile(error: BadInput) -> ProfileError:
    return ProfileError(f"the profile's compression: {error.message}", remedy=error.remedy, field="compression")


def _refuse_unknown(host: str) -> None:
    if host not in HOSTS:
        raise ProfileError(f"there is no VLM host '{host}'", remedy=did_you_mean(host, HOSTS.names()), field="backend")
