"""The front door: raw rows in, decisions out; nothing about a person is kept or echoed."""

import logging
from collections.abc import Callable

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from tasks.params import UserError
from tasks.serving import page
from tasks.serving.body import JSON, MOST_BYTES, Refused, asked
from tasks.serving.scorer import Scorer
from tasks.table.cells import ValueShown

log = logging.getLogger("sordino.serve")

# A larger request would keep small ones waiting.
INLINE_ROWS = 200
REASONS = 4

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


def _answer(scorer: Scorer, body: bytes, kind: str, said: str | None, default: int) -> bytes:
    """The whole work of one request."""
    try:
        rows, reasons = asked(body, kind, scorer.columns, said)
        return scorer.answer(rows, scorer.usual_reasons(default) if reasons is None else reasons)
    except Refused:
        raise
    except UserError as error:
        raise told(error) from None
    except Exception as error:
        # The text of an error may hold a cell's value, and a server writes down what it is not
        # told to expect: the error's kind alone leaves this function.
        log.error("a request failed: %s", type(error).__name__)
        raise Refused("server", "the request failed", 500) from None


def create_app(name: str, current: Current, reasons: int = REASONS) -> FastAPI:
    """Return the application.

    Args:
        name: of the registered model.
        current: the model in use; it may change between two requests, never within one.
        reasons: of an unfavourable decision, where a request does not say how many.
    """
    scorer = current()
    usual = scorer.usual_reasons(reasons) if scorer else reasons
    app = FastAPIOffline(
        docs_url=None,
        redoc_url=None,
        title=name,
        description="Scores and decisions of a registered model. Rows are sent as the user's own "
        "table has them; values are neither kept nor repeated in errors.",
    )

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"field": error.field, "error": error.reason}, error.status)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return page.documents(name, str(request.scope.get("root_path", "")))

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
        responses={
            200: page.answer(scorer),
            **{status: {"description": text} for status, text in _STATUSES.items()},
        },
        openapi_extra=page.operation(scorer, usual),
    )
    async def score(request: Request) -> Response:
        scorer = current()
        if scorer is None:
            raise Refused("model", "no model is loaded yet", 503)
        said = request.query_params.get("reasons")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await _body(request)
        # About 40 bytes a cell: what is surely small is answered without another thread.
        if scorer.quick and len(body) < INLINE_ROWS * 40 * max(1, len(scorer.columns)):
            answer = _answer(scorer, body, kind, said, reasons)
        else:
            answer = await run_in_threadpool(_answer, scorer, body, kind, said, reasons)
        return Response(answer, media_type=JSON)

    return app


_STATUSES = {
    400: "a row cannot be read: the field and the reason, never the value",
    413: "too many rows or bytes",
    415: "neither JSON nor CSV",
    503: "no model is loaded yet",
}
