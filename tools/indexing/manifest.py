"""How far the index of each video has come, so that an interrupted run goes on and a finished one is not repeated."""

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Manifest(BaseModel):
    """Progress of one video.

    Attributes:
        fingerprint: what the index was made with; another one means that it must be made again.
        until: for each pass the second up to which its clips are in the store.
        done: for each pass whether it is finished.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    until: dict[str, float] = Field(default_factory=dict)
    done: dict[str, bool] = Field(default_factory=dict)

    def advanced(self, name: str, until: float, *, done: bool = False) -> "Manifest":
        """The manifest after pass ``name`` has reached ``until``."""
        return Manifest(fingerprint=self.fingerprint, until={**self.until, name: until}, done={**self.done, name: done})


class Manifests:
    """One small JSON file a video under ``folder``, replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, video_id: str) -> Manifest | None:
        """What was saved, or None; a file that cannot be read counts as none, so that the video is indexed again."""
        try:
            return Manifest.model_validate_json(self._path(video_id).read_bytes())
        except (FileNotFoundError, ValidationError, json.JSONDecodeError):
            return None

    def save(self, video_id: str, manifest: Manifest) -> None:
        """Writes the manifest; a crash leaves the old or the new one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._path(video_id).with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(manifest.model_dump_json())
        draft.replace(self._path(video_id))

    def remove(self, video_id: str) -> None:
        """Forgets the video's progress."""
        self._path(video_id).unlink(missing_ok=True)

    def _path(self, video_id: str) -> Path:
        return self._folder / f"{video_id}.json"
