"""Who may come in and how much they may bring."""

import hmac
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem, response

#: Largest body in bytes of a request that uploads nothing.
MAX_JSON = 1_000_000
#: What a multipart form may weigh beyond its file.
_FORM = 65_536


class BodyTooLarge(Exception):
    """The body of a request has more bytes than it may have."""


class BodyLimit:
    """Refuses a body that is too large: before it is read where its length is announced, else as soon as it is.

    Args:
        uploads: path that takes uploads.
        max_upload: bytes that an upload may have.
    """

    def __init__(self, app: ASGIApp, *, uploads: str, max_upload: int) -> None:
        self._app = app
        self._uploads = uploads
        self._max_upload = max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, counting its bytes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        form = scope["path"] == self._uploads and headers.get(b"content-type", b"").startswith(b"multipart/")
        limit = self._max_upload + _FORM if form else MAX_JSON
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > limit:
            await self._refuse(form, limit)(scope, receive, send)
            return
        size, started = 0, False

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise BodyTooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except BodyTooLarge:
            if not started:
                await self._refuse(form, limit)(scope, receive, send)

    def _refuse(self, form: bool, limit: int) -> ASGIApp:
        field = "file" if form else "body"
        remedy = "upload a smaller file, or raise api.max_upload_mb in the profile" if form else "send less"
        size = f"{self._max_upload / 2**20:g} MiB" if form else f"{limit / 1e6:g} MB"
        return response(problem(413, f"the {field} is larger than {size}", kind="TooLarge", remedy=remedy, field=field))


class BearerAuth:
    """Lets in only requests with one of ``tokens``; the paths in ``open_paths`` are for everybody."""

    def __init__(self, app: ASGIApp, *, tokens: Sequence[str], open_paths: Sequence[str]) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on or answers 401."""
        if scope["type"] != "http" or not self._tokens or scope["path"] in self._open or self._known(scope):
            await self._app(scope, receive, send)
            return
        refused = problem(
            401,
            "this service asks for a token",
            kind="Unauthorized",
            remedy="send the header 'Authorization: Bearer TOKEN' with a token of the profile's api.tokens",
            field="authorization",
        )
        await response(refused, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        scheme, _, token = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        # Every token is compared, each in constant time, so that the time taken tells nothing.
        matches = [hmac.compare_digest(token.strip(), known) for known in self._tokens]
        return scheme.lower() == b"bearer" and any(matches)
