"""The front door: raw rows in, decisions out; nothing about a person is kept or echoed."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from tasks.params import UserError
from tasks.serving.body import CSV, JSON, MOST_BYTES, Refused, rows_of
from tasks.serving.scorer import Scorer
from tasks.table.cells import ValueShown

log = logging.getLogger("sordino.serve")

# A larger request would keep small ones waiting.
INLINE_ROWS = 200

Current = Callable[[], Scorer | None]


def told(error: UserError) -> Refused:
    """Return an error of the encoder as the client may see it: without any cell's value."""
    text = error.without_value if isinstance(error, ValueShown) else str(error)
    field, _, reason = text.rpartition(": ")
    return Refused(field.rpartition("column ")[2] if "column " in field else field, reason)


async def _body(request: Request) -> bytes:
    """The body, given up on as soon as it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise Refused("body", f"at most {MOST_BYTES:,} bytes are read", 413)
        parts.append(part)
    return b"".join(parts)


def _answer(scorer: Scorer, body: bytes, kind: str) -> bytes:
    """The whole work of one request."""
    try:
        return scorer.answer(rows_of(body, kind, scorer.columns))
    except Refused:
        raise
    except UserError as error:
        raise told(error) from None
    except Exception as error:
        # The text of an error may hold a cell's value, and a server writes down what it is not
        # told to expect: the error's kind alone leaves this function.
        log.error("a request failed: %s", type(error).__name__)
        raise Refused("server", "the request failed", 500) from None


def described(scorer: Scorer | None) -> dict[str, Any]:
    """Return the request body as OpenAPI: the columns that the model reads and an invented row."""
    columns: Mapping[str, str] = scorer.described if scorer else {}
    cell = {"type": ["number", "string", "boolean", "null"]}
    row = {
        "type": "object",
        "properties": {name: {**cell, "description": text} for name, text in columns.items()},
    }
    rows = {"type": "array", "items": row, "minItems": 1}
    body: dict[str, Any] = {
        "schema": {"type": "object", "properties": {"rows": rows}, "required": ["rows"]}
    }
    if scorer:
        body["example"] = {"rows": scorer.example}
    return {"required": True, "content": {JSON: body, CSV: {"schema": {"type": "string"}}}}


def create_app(name: str, current: Current) -> FastAPI:
    """Return the application.

    Args:
        name: of the registered model.
        current: the model in use; it may change between two requests, never within one.
    """
    app = FastAPIOffline(
        redoc_url=None,
        title=name,
        description="Scores and decisions of a registered model. Rows are sent as the user's own "
        "table has them; values are neither kept nor repeated in errors.",
    )

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"field": error.field, "error": error.reason}, error.status)

    @app.get("/health", summary="The process runs")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready", summary="A model is loaded", responses={503: {"description": "none yet"}})
    async def ready() -> Response:
        scorer = current()
        if scorer is None:
            return JSONResponse({"status": "no model yet"}, 503)
        return JSONResponse({"status": "ready", "model": scorer.identity})

    @app.post(
        "/score",
        summary="Score people",
        responses={status: {"description": text} for status, text in _STATUSES.items()},
        openapi_extra={"requestBody": described(current())},
    )
    async def score(request: Request) -> Response:
        scorer = current()
        if scorer is None:
            raise Refused("model", "no model is loaded yet", 503)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await _body(request)
        # About 40 bytes a cell: what is surely small is answered without another thread.
        if len(body) < INLINE_ROWS * 40 * max(1, len(scorer.columns)):
            answer = _answer(scorer, body, kind)
        else:
            answer = await run_in_threadpool(_answer, scorer, body, kind)
        return Response(answer, media_type=JSON)

    return app


_STATUSES = {
    400: "a row cannot be read: the field and the reason, never the value",
    413: "too many rows or bytes",
    415: "neither JSON nor CSV",
    503: "no model is loaded yet",
}
