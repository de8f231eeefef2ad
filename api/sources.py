"""Where videos may come from: folders and hosts that the profile allows, and uploads."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from configs.profile import Api
from tools.errors import BadInput, Forbidden, MediaError
from tools.media.library import Library
from tools.media.video import Video

#: Seconds to wait for a host: to answer, and between two pieces of a file.
FETCH_TIMEOUT_S = 30.0
_PIECE = 1 << 20


def register(library: Library, settings: Api, uri: str, name: str | None) -> Video:
    """Registers the video at a path or an address.

    Raises:
        Forbidden: outside the allowed folders or hosts.
        BadInput: an address of another kind, a host that does not answer, a file that is too large.
        NotFound, MediaError: the file is not there, or is no video.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        return _fetch(library, settings, uri, name)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return library.add(allowed_path(settings, unquote(parts.path)), name=name)
    # One letter before the colon is a drive, and a path may hold a colon anywhere.
    if parts.scheme and "//" in uri:
        raise BadInput(
            f"addresses of the kind '{parts.scheme}://' cannot be fetched",
            remedy="give a path, a file: address, or an http(s) address",
            field="uri",
        )
    return library.add(allowed_path(settings, uri), name=name)


def allowed_path(settings: Api, text: str) -> Path:
    """The path with all links followed, which must lie in one of the allowed folders.

    Whether a file outside them exists is not told.

    Raises:
        Forbidden: outside of them.
    """
    if "\0" in text:
        raise BadInput("a path cannot hold a null character", remedy="correct the path", field="uri")
    path = Path(text).expanduser().resolve()
    for root in settings.roots:
        if path.is_relative_to(Path(root).expanduser().resolve()):
            return path
    allowed = ", ".join(settings.roots) or "none; uploads only"
    raise Forbidden(
        f"'{text[:200]}' lies outside the folders that this service may open",
        remedy=f"move it there, upload it, or add its folder to api.roots in the profile (now: {allowed})",
        field="uri",
    )


def upload(library: Library, settings: Api, filename: str, pieces: Iterable[bytes], name: str | None) -> Video:
    """Stores and registers uploaded bytes; bytes that are no video leave nothing behind.

    Raises:
        MediaError: they are no video; BadInput: there are too many of them.
    """
    path = library.store_upload(filename or "upload", pieces, settings.max_upload_mb * 2**20)
    try:
        video = library.add(path, name=name or Path(filename).name or None)
    except Exception as error:
        path.unlink(missing_ok=True)
        if isinstance(error, MediaError):
            # The user knows the file by its own name, and the field by the form's.
            message = error.message.replace(str(path), filename).replace(path.name, filename)
            raise MediaError(message, remedy=error.remedy, field="file") from error
        raise
    if Path(video.path) != path:
        # The same bytes were registered from elsewhere before: one copy is enough.
        path.unlink(missing_ok=True)
    return video


def _fetch(library: Library, settings: Api, uri: str, name: str | None) -> Video:
    host = urlsplit(uri).hostname or ""
    if host not in settings.hosts:
        raise Forbidden(
            f"the host '{host}' is not one that this service may fetch from",
            remedy=f"upload the file, or add the host to api.hosts in the profile (now: "
            f"{', '.join(settings.hosts) or 'none'})",
            field="uri",
        )
    filename = unquote(Path(urlsplit(uri).path).name) or "download"
    try:
        # A redirect could lead to a host that is not allowed, and so could a proxy from the environment.
        with httpx.Client(timeout=FETCH_TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            with client.stream("GET", uri) as reply:
                if reply.status_code != httpx.codes.OK:
                    raise BadInput(
                        f"'{host}' answered {reply.status_code} {reply.reason_phrase}",
                        remedy="give the address of the file itself; redirects are not followed",
                        field="uri",
                    )
                return upload(library, settings, filename, reply.iter_bytes(_PIECE), name)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadInput(
            f"'{host}' could not be fetched from ({type(error).__name__})",
            remedy="check the address and try again, or upload the file",
            field="uri",
        ) from error
    except MediaError as error:
        raise MediaError(error.message, remedy=error.remedy, field="uri") from error
