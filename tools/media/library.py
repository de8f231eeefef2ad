"""The registered videos of one data directory."""

import hashlib
import logging
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from tools.errors import BadInput, NotFound
from tools.evidence import Kind
from tools.media.probe import probe
from tools.media.video import Video

logger = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{32}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


class Library:
    """Registered videos, a small JSON file each.

    Any number of processes and threads may use one directory: files are written whole under another name and then
    moved into place.

    Args:
        home: the data directory; ``videos/`` and ``uploads/`` under it belong to the library.
    """

    def __init__(self, home: Path) -> None:
        self._records = Path(home) / "videos"
        self._uploads = Path(home) / "uploads"

    def add(self, path: Path | str, *, name: str | None = None) -> Video:
        """Registers a media file and returns what is known about it.

        The same bytes are the same video: adding them again renames the video if ``name`` is given, and points to the
        new path if the old one is gone.

        Raises:
            NotFound, MediaError: the file cannot be opened.
        """
        path = Path(path).expanduser().absolute()
        info = probe(path)
        with path.open("rb") as file:
            identity = hashlib.file_digest(file, _new_hash).hexdigest()
        known = self._read(identity)
        if known is None:
            video = Video(id=identity, name=name or path.name, path=str(path), info=info)
        else:
            where = known.path if Path(known.path).is_file() else str(path)
            video = known.model_copy(update={"name": name or known.name, "path": where, "info": info})
        if video != known:
            self._write(video)
        return video

    def get(self, video_id: str) -> Video:
        """The video with this id.

        Raises:
            NotFound: it is not registered.
        """
        video = self._read(video_id)
        if video is None:
            raise NotFound(
                f"there is no video '{video_id[:64]}'",
                remedy="index the file first, or list the videos to see their ids",
                field="video_id",
            )
        return video

    def list(self) -> "list[Video]":
        """All videos, sorted by name and id; a damaged record is left out with a warning."""
        if not self._records.is_dir():
            return []
        found = (self._read(path.stem) for path in self._records.glob("*.json"))
        return sorted((video for video in found if video is not None), key=lambda video: (video.name, video.id))

    def mark_indexed(self, video_id: str, kinds: Iterable[Kind]) -> Video:
        """Notes of which kinds of evidence the index holds all that there is in the video.

        Raises:
            NotFound: it is not registered.
        """
        video = self.get(video_id)
        marked = video.model_copy(update={"indexed_kinds": tuple(sorted(kinds))})
        if marked != video:
            self._write(marked)
        return marked

    def remove(self, video_id: str) -> None:
        """Forgets a video and deletes its bytes if they were uploaded here.

        Raises:
            NotFound: it is not registered.
        """
        video = self.get(video_id)
        path = Path(video.path)
        if path.resolve().is_relative_to(self._uploads.resolve()):
            path.unlink(missing_ok=True)
        self._record(video_id).unlink(missing_ok=True)

    def store_upload(self, name: str, chunks: Iterable[bytes], max_bytes: int) -> Path:
        """Writes an upload under ``uploads/`` and returns where it lies; equal bytes lie in one file.

        Raises:
            BadInput: more than ``max_bytes`` bytes came.
        """
        self._uploads.mkdir(parents=True, exist_ok=True)
        part = self._uploads / f".{uuid.uuid4().hex}.part"
        digest, size = _new_hash(), 0
        try:
            with part.open("wb") as file:
                for chunk in chunks:
                    size += len(chunk)
                    if size > max_bytes:
                        raise BadInput(
                            f"'{Path(name).name}' is larger than {max_bytes / 1e6:g} MB",
                            remedy="upload a smaller file, or raise api.max_upload_mb in the profile",
                            field="file",
                        )
                    digest.update(chunk)
                    file.write(chunk)
            suffix = Path(name).suffix
            target = self._uploads / (digest.hexdigest() + (suffix.lower() if _SUFFIX.fullmatch(suffix) else ""))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def _record(self, video_id: str) -> Path:
        return self._records / f"{video_id}.json"

    def _read(self, video_id: str) -> Video | None:
        # Ids come from requests: only hashes may become file names.
        if not _ID.fullmatch(video_id):
            return None
        try:
            return Video.model_validate_json(self._record(video_id).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            # The record is only a copy of what the file says; adding the file writes it anew.
            logger.warning("the record of video %s is damaged and ignored; add its file again: %s", video_id, error)
            return None

    def _write(self, video: Video) -> None:
        self._records.mkdir(parents=True, exist_ok=True)
        part = self._records / f".{uuid.uuid4().hex}.part"
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(video.model_dump_json(indent=2))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._record(video.id))
        finally:
            part.unlink(missing_ok=True)


def _new_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
