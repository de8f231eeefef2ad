"""The schema of a profile: frozen records whose unknown keys are refused with the nearest known one."""

from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tools.errors import did_you_mean

#: Tools that a profile can build, in the order in which a reader meets them.
TOOLS = ("media", "asr", "ocr", "detect", "embed", "store", "vlm")
#: Type of the validation error for an unknown key; its context holds "key" and "remedy".
UNKNOWN_KEY = "unknown_key"

_SECRETS = ("key", "token", "password", "secret")


class Section(BaseModel):
    """Part of a profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                context = {"key": str(key), "remedy": did_you_mean(str(key), cls.model_fields)}
                raise PydanticCustomError(UNKNOWN_KEY, "unknown key '{key}'", context)
        return data


class Backend(BaseModel):
    """A choice of implementation: ``backend: name`` and the keyword arguments of its constructor beside it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    backend: str

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, data: Any) -> Any:
        if isinstance(data, str):
            raise PydanticCustomError("shape", f"should be written as 'backend: {data}'")
        return data

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # A profile is printed by logs and by `doctor`; what opens a door is not.
        for name, value in super().__repr_args__():
            secret = name is not None and any(word in name.lower() for word in _SECRETS)
            yield name, "***" if secret and value else value


class Media(Section):
    """Decoding of views.

    Attributes:
        cache_mb: decoded frames kept in memory, in MiB.
    """

    cache_mb: int = Field(default=256, ge=0)


class Index(Section):
    """How a video is indexed.

    Attributes:
        fps: pictures a second that the indexing pass looks at.
        short_side: their shorter side in pixels.
        clip_seconds: longest visual clip; a longer shot is cut into windows.
        batch: pictures, and clips, that are handled at once.
    """

    fps: float = Field(default=1.0, gt=0, le=60)
    short_side: int = Field(default=480, ge=64, le=4320)
    clip_seconds: float = Field(default=10.0, gt=0)
    batch: int = Field(default=32, ge=1)


class Deployment(Section):
    """What one tool gets on a cluster.

    Attributes:
        min_replicas, max_replicas: copies; equal numbers switch autoscaling off.
        num_cpus, num_gpus: that each copy reserves; fractions share one.
        max_ongoing_requests: calls that one copy works on at the same time.
        timeout_s: seconds after which a call is given up.
    """

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=1, ge=1)
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    max_ongoing_requests: int = Field(default=8, ge=1)
    timeout_s: float = Field(default=120.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is larger than max_replicas {self.max_replicas}")
        return self

    @property
    def replicas(self) -> int | None:
        """The fixed number of copies, or None where it follows the load."""
        return self.min_replicas if self.min_replicas == self.max_replicas else None


class Cluster(Section):
    """Ray Serve: a deployment for each tool, and ``api`` for the HTTP front with the agent in it."""

    media: Deployment = Deployment()
    asr: Deployment = Deployment()
    ocr: Deployment = Deployment()
    detect: Deployment = Deployment()
    embed: Deployment = Deployment()
    store: Deployment = Deployment()
    vlm: Deployment = Deployment()
    api: Deployment = Deployment()

    def of(self, tool: str) -> Deployment:
        """The settings of one tool (or of "api")."""
        deployment: Deployment = getattr(self, tool)
        return deployment


class Api(Section):
    """The HTTP service.

    Attributes:
        host, port: where it listens.
        roots: folders from which videos may be registered by path.
        hosts: hosts from which videos may be fetched by address.
        max_upload_mb: largest upload in MiB.
        tokens: bearer tokens that are let in; none means that everyone who reaches the port is.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    max_upload_mb: int = Field(default=4096, ge=1)
    tokens: tuple[str, ...] = Field(default=(), repr=False)

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        # An environment variable can only hold a string: "a,b" is the list of a and b.
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for key in ("roots", "hosts", "tokens"):
            if key in data and (data[key] is None or isinstance(data[key], str)):
                data[key] = [part.strip() for part in (data[key] or "").split(",") if part.strip()]
        return data


class Profile(Section):
    """Everything that Loupe is made of. A tool that is None does not exist in this profile.

    Attributes:
        name: of the file that it came from.
        detect: all detectors that are asked; none means no detection.
        reasoner: who plans, decides and writes; built by the agents.
    """

    name: str = "custom"
    media: Media = Media()
    asr: Backend | None = None
    ocr: Backend | None = None
    detect: tuple[Backend, ...] = ()
    text_embedding: Backend = Backend(backend="minilm")
    visual_embedding: Backend | None = None
    vlm: Backend | None = None
    reasoner: Backend = Backend(backend="rules")
    store: Backend = Backend(backend="edge")
    index: Index = Index()
    cluster: Cluster = Cluster()
    api: Api = Api()

    @model_validator(mode="before")
    @classmethod
    def _no_detectors(cls, data: Any) -> Any:
        if isinstance(data, dict) and "detect" in data and data["detect"] is None:
            return {**data, "detect": ()}
        return data

    @model_validator(mode="after")
    def _one_holder(self) -> Self:
        if self.store.backend != "server" and self.cluster.store.replicas != 1:
            raise ValueError(
                f"store backend '{self.store.backend}' keeps its files in one process, so cluster.store must have "
                "min_replicas and max_replicas 1"
            )
        return self
