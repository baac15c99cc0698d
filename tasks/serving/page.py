"""What the OpenAPI page says of a request and its answer, with invented examples."""

from collections.abc import Mapping
from typing import Any

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from tasks.recipe import DataConfig
from tasks.serving.body import CSV, JSON
from tasks.serving.options import MOST_REASONS
from tasks.serving.scorer import Scorer

_CELL = {"type": ["number", "string", "boolean", "null"]}
_COUNT = {"type": "integer", "minimum": 0, "maximum": MOST_REASONS}
_OF_REASONS = "principal reasons of each person at most"

_REASON = {
    "feature": ("string", "in the recipe's words; of a text the token"),
    "code": ("string", "serve.reasons of the recipe, or empty"),
    "text": ("string", "serve.reasons of the recipe, or the feature's name"),
    "reference": ("string", "what the person's own was compared with: public"),
    "sensitive": ("boolean", "a sensitive feature that the model reads"),
    "points": ("number", "by how much the feature moved what is asked about"),
    "share": ("number", "part of all that did so"),
}

# Where FastAPIOffline keeps Swagger's files, and what its page lacks for a reader of screens.
_FILES = "/static-offline-docs"
_SAID = (
    ("<html>", '<html lang="en">'),
    ('<div id="swagger-ui">\n    </div>', '<main id="swagger-ui">\n    </main>'),
)


def documents(name: str, root: str = "") -> HTMLResponse:
    """Return Swagger's page, from files of this machine alone.

    Args:
        name: of the registered model.
        root: path under which a proxy shows the server.
    """
    files = f"{root}{_FILES}"
    text = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=name,
        swagger_js_url=f"{files}/swagger-ui-bundle.js",
        swagger_css_url=f"{files}/swagger-ui.css",
        swagger_favicon_url=f"{files}/favicon.png",
    ).body
    page = bytes(text).decode()
    for before, after in _SAID:
        page = page.replace(before, after)
    return HTMLResponse(page)


def operation(scorer: Scorer | None, default: int) -> dict[str, Any]:
    """Return parameters and body of a request, as OpenAPI.

    Args:
        scorer: the model in use; None before the first.
        default: reasons where a request does not say.
    """
    given = scorer is None or scorer.features is not None
    told = {
        "description": f"{_OF_REASONS}; {default} where nothing is said"
        if given
        else "this model gives none: 0",
    }
    query = {"name": "reasons", "in": "query", "required": False, "schema": _COUNT, **told}
    body = {"required": True, "content": _content(scorer, {**_COUNT, **told})}
    return {"parameters": [query], "requestBody": body}


def _content(scorer: Scorer | None, count: Mapping[str, Any]) -> dict[str, Any]:
    """The request body: the columns that the model reads and invented rows."""
    columns: Mapping[str, str] = scorer.described if scorer else {}
    row = {
        "type": "object",
        "properties": {name: {**_CELL, "description": text} for name, text in columns.items()},
    }
    rows = {"type": "array", "items": row, "minItems": 1}
    properties = {"rows": rows, "reasons": dict(count)}
    body: dict[str, Any] = {
        "schema": {"type": "object", "properties": properties, "required": ["rows"]}
    }
    if scorer:
        body["example"] = {"rows": scorer.example}
    return {JSON: body, CSV: {"schema": {"type": "string"}}}


def answer(scorer: Scorer | None) -> dict[str, Any]:
    """Return what a status of 200 holds, as OpenAPI."""
    text = {"type": "string"}
    person: dict[str, Any] = {"person_id": text}
    if scorer is not None:
        person |= _columns(scorer)
    people = {"type": "array", "items": {"type": "object", "properties": person}}
    identity = {"type": "object", "properties": dict.fromkeys(("name", "version", "alias"), text)}
    schema = {"type": "object", "properties": {"model": identity, "people": people}}
    content: dict[str, Any] = {"schema": schema}
    if scorer is not None:
        made = {name: of.get("example") for name, of in person.items()}
        people_made = [{**made, "person_id": "example-1"}]
        content["example"] = {"model": dict(scorer.identity), "people": people_made}
    return {"description": "one object a person", "content": {JSON: content}}


def _columns(scorer: Scorer) -> dict[str, Any]:
    """What is said of each person, beside the id."""
    data = scorer.data
    if not data.target.is_scored:
        return {}
    number = {"type": "number", "example": 0.31}
    columns: dict[str, Any] = {"score": number}
    if data.target.kind == "multiclass":
        columns = {f"score_{k}": number for k in range(len(data.target.classes))}
    if scorer.half_width is not None:
        columns |= {"low": number, "high": number}
    if data.target.kind != "regression":
        names = list(data.target.names or map(str, data.target.classes))
        columns["decision"] = {"type": "string", "enum": names, "example": names[-1]}
    if scorer.features is not None:
        columns["reasons"] = _reasons(data, scorer.features.said(_first(scorer)))
    return columns


def _first(scorer: Scorer) -> int:
    """The first feature with a name that is no token's, or else the first token."""
    assert scorer.features is not None
    owners = [*scorer.features.owners.tolist(), *scorer.features.static_owners.tolist()]
    return int(owners[0]) if owners else 0


def _reasons(data: DataConfig, said: Mapping[str, Any]) -> dict[str, Any]:
    """Reasons of a person, with an example."""
    properties = {name: {"type": k, "description": t} for name, (k, t) in _REASON.items()}
    whose = "" if data.decision is None else "; of an unfavourable decision alone"
    return {
        "type": "array",
        "description": f"where asked for, the most important first{whose}",
        "items": {"type": "object", "properties": properties},
        "example": [{**said, "points": 0.83, "share": 0.62}],
    }
