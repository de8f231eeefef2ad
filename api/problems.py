"""Errors over HTTP: problem details (RFC 9457) that name the field at fault and the remedy."""

import logging
import re
import secrets
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tools.errors import LoupeError

#: Media type of a problem.
PROBLEM_JSON = "application/problem+json"

_LOG = logging.getLogger("loupe.api")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def problem(
    status: int, detail: str, *, kind: str = "", remedy: str | None = None, field: str | None = None, **more: Any
) -> dict[str, Any]:
    """The members of a problem; ``type`` is a name under ``urn:loupe:problem:`` that programs can compare."""
    title = HTTPStatus(status).phrase
    slug = _CAMEL.sub("-", kind or title.title().replace(" ", "")).lower()
    members = {
        "type": f"urn:loupe:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "field": field,
        "remedy": remedy,
        **more,
    }
    return {key: value for key, value in members.items() if value is not None}


def of_error(error: Exception) -> dict[str, Any]:
    """The problem of any exception. One that nobody foresaw is logged under an incident id; what it says stays here."""
    if isinstance(error, LoupeError):
        return problem(error.status, error.message, kind=type(error).__name__, remedy=error.remedy, field=error.field)
    incident = secrets.token_hex(4)
    _LOG.error("incident %s", incident, exc_info=error)
    return problem(
        500,
        "something went wrong here that was not foreseen",
        kind="Unexpected",
        remedy=f"tell the operator the incident id {incident}; the service's log has the details",
        incident=incident,
    )


def response(members: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem as an HTTP response."""
    return JSONResponse(members, status_code=members["status"], media_type=PROBLEM_JSON, headers=headers)


def install(app: FastAPI) -> None:
    """Makes every error of ``app`` a problem."""

    async def loupe_error(_: Request, error: Exception) -> JSONResponse:
        return response(of_error(error))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return response(_of_validation(error))

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers) if error.headers else None
        return response(problem(error.status_code, str(error.detail), remedy=_REMEDIES.get(error.status_code)), headers)

    app.add_exception_handler(LoupeError, loupe_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, loupe_error)


_REMEDIES = {
    401: "send the header 'Authorization: Bearer TOKEN' with a token of the profile's api.tokens",
    404: "see /docs for what there is",
    405: "see /docs for the methods of this address",
}


def _of_validation(error: RequestValidationError) -> dict[str, Any]:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if len(place) > 1 and place[0] in ("body", "query", "path", "header"):
        place = place[1:]
    field = ".".join(place)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        field, message = "body", f"the body is not JSON ({first.get('ctx', {}).get('error', message)})"
    return problem(
        422,
        f"{field}: {message[:1].lower()}{message[1:]}",
        kind="BadInput",
        remedy=f"correct '{field}'; /docs describes what is expected",
        field=field,
    )
