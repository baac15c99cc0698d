"""The front door: the right answer, or the field's name; never a person's value."""

import asyncio
import io
import json
import logging
from dataclasses import replace
from typing import Any

import httpx
import polars as pl
import pytest
from fastapi import FastAPI

from tasks.serving.app import create_app
from tasks.serving.body import MOST_BYTES, MOST_ROWS
from tasks.serving.scorer import Scorer
from tests import fake

SECRET = "Zaphod Beeblebrox"


class Client:
    """Requests to an application in this process."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


@pytest.fixture
def client(scorer: Scorer) -> Client:
    return Client(create_app("tiny", lambda: scorer))


def rows(made: fake.Fake, scorer: Scorer) -> list[dict[str, object]]:
    """The raw table as a client sends it."""
    return json.loads(made.raw.select(scorer.columns).write_json())


def test_json_and_csv_give_the_same_answer(made, scorer, client):
    table = made.raw.select(scorer.columns)
    answer = client.post("/score", json={"rows": rows(made, scorer)})
    assert answer.status_code == 200
    assert answer.json() == json.loads(scorer.answer(table, scorer.usual_reasons(4)))
    text = table.write_csv().encode()
    again = client.post("/score", content=text, headers={"content-type": "text/csv; charset=utf-8"})
    assert again.json() == answer.json()


def test_extra_columns_are_left_alone(made, scorer, client):
    told = [{**row, "note": {"deep": SECRET}} for row in rows(made, scorer)]
    assert client.post("/score", json={"rows": told}).status_code == 200


def test_one_person_alone(made, scorer, client):
    row = rows(made, scorer)[0]
    (person,) = client.post("/score", json={"rows": [row]}).json()["people"]
    assert "person_id" in person


def wrong(made: fake.Fake, scorer: Scorer):
    """Bodies that cannot be answered, with the field that is at fault."""
    good = rows(made, scorer)[0]
    layout = made.data.sequence.layout
    number = {"wide": "d1", "long": "amount"}.get(layout)
    name = scorer.columns[-1]
    yield b"{", "body"
    yield b"[]", "rows"
    yield b'{"rows": 3}', "rows"
    yield b'{"rows": []}', "rows"
    yield b'{"rows": [1]}', "rows"
    yield b'{"rows": [{}]}', None
    yield json.dumps({"rows": [{**good, name: [SECRET]}]}).encode(), name
    yield json.dumps({"rows": [{**good, name: {"a": SECRET}}]}).encode(), name
    yield json.dumps({"rows": [{k: v for k, v in good.items() if k != name}]}).encode(), None
    if number in good:
        yield json.dumps({"rows": [{**good, number: SECRET}]}).encode(), number
        yield json.dumps({"rows": [{**good, number: "1e999"}]}).encode(), number
        # A whole number that no float holds.
        yield json.dumps({"rows": [{**good, number: 10**400}]}).encode(), number


def test_a_mistake_gets_the_field_and_no_value(made, scorer, client, caplog):
    caplog.set_level(logging.DEBUG)
    for body, field in wrong(made, scorer):
        answer = client.post("/score", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, (body, answer.text)
        told = answer.json()
        assert set(told) == {"field", "error"} and told["error"]
        assert field is None or field in told["field"], (body, told)
        assert SECRET not in answer.text and "Traceback" not in answer.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("layout", ["wide"])
def test_reasons_are_asked_for_in_the_body_or_the_address(made, scorer):
    scorer = replace(scorer, threshold=0.0)
    client = Client(create_app("tiny", lambda: scorer, 2))
    sent = rows(made, scorer)

    def most(path: str, **more: object) -> int | None:
        people = client.post(path, json={"rows": sent, **more}).json()["people"]
        return max(len(p["reasons"]) for p in people) if "reasons" in people[0] else None

    assert most("/score") == 2
    assert most("/score", reasons=0) is most("/score?reasons=0") is None
    assert most("/score?reasons=0", reasons=None) is None
    assert most("/score?reasons=0", reasons=1) == most("/score?reasons=1") == 1
    assert most("/score", reasons=20) == 3
    table = made.raw.select(scorer.columns).write_csv().encode()
    kind = {"content-type": "text/csv"}
    told = client.post("/score?reasons=3", content=table, headers=kind).json()
    assert told == json.loads(scorer.answer(made.raw.select(scorer.columns), 3))


@pytest.mark.parametrize("layout", ["wide"])
def test_reasons_that_are_no_number_are_named_and_not_repeated(made, scorer, client):
    good = rows(made, scorer)[:1]
    told = {"field": "reasons", "error": "a whole number from 0 to 20 is needed"}
    for wrong in (-1, 21, 1.0, True, SECRET, [SECRET], {}, 10**30):
        answer = client.post("/score", json={"rows": good, "reasons": wrong})
        assert (answer.status_code, answer.json()) == (400, told), wrong
    for text in ("-1", "21", "1.0", "", "true", SECRET, "²", "9" * 5000):
        answer = client.post("/score", params={"reasons": text}, json={"rows": good})
        assert (answer.status_code, answer.json()) == (400, told), text


@pytest.mark.parametrize("layout", ["long"])
def test_where_nothing_is_decided_reasons_must_be_asked_for(made, scorer, client):
    sent = {"rows": rows(made, scorer)}
    assert "reasons" not in client.post("/score", json=sent).json()["people"][0]
    people = client.post("/score?reasons=1", json=sent).json()["people"]
    assert {len(p["reasons"]) for p in people} == {1}


@pytest.mark.parametrize("layout", ["wide"])
def test_too_much_work_for_reasons_is_refused(made, scorer, client, monkeypatch):
    monkeypatch.setattr("tasks.serving.scorer.MOST_STEPS", 8)
    client = Client(create_app("tiny", lambda: replace(scorer, threshold=0.0)))
    answer = client.post("/score?reasons=1", json={"rows": rows(made, scorer)})
    assert answer.status_code == 400 and answer.json()["field"] == "reasons"
    assert "8 are allowed" in answer.json()["error"]


def test_two_values_of_one_person_are_not_repeated(made, scorer, client):
    if made.data.sequence.layout != "long" or not made.data.static:
        return
    first, second = [r for r in rows(made, scorer) if r["id"] == rows(made, scorer)[0]["id"]][:2]
    column = made.data.static[0].column
    told = [{**first, "id": SECRET, column: 4711}, {**second, "id": SECRET, column: 4712}]
    answer = client.post("/score", json={"rows": told})
    assert answer.status_code == 400
    assert column in answer.json()["field"]
    assert SECRET not in answer.text and "471" not in answer.text


def test_csv_that_is_none(client):
    for body in (b"", b"\xff\xfe", b"a,b\n1\n" + b"1,2,3\n"):
        answer = client.post("/score", content=body, headers={"content-type": "text/csv"})
        assert answer.status_code == 400


def test_limits(scorer, client):
    many = {"rows": [{}] * (MOST_ROWS + 1)}
    assert client.post("/score", json=many).status_code == 413
    assert client.post("/score", content=b" " * (MOST_BYTES + 1)).status_code == 413
    assert client.post("/score", content=b"x", headers={"content-type": "a/b"}).status_code == 415
    assert client.get("/score").status_code == 405


def test_without_a_model_nothing_is_ready(scorer):
    held: list[Scorer] = []
    client = Client(create_app("tiny", lambda: held[0] if held else None))
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").status_code == 503
    assert client.post("/score", json={"rows": []}).status_code == 503
    held.append(scorer)
    assert client.get("/ready").json()["model"]["version"] == "3"


def test_a_failure_of_ours_shows_and_logs_nothing(made, scorer, caplog):
    class Broken:
        columns = scorer.columns
        described = scorer.described
        example = scorer.example
        features = scorer.features
        quick = True
        data = scorer.data
        half_width = None
        identity = scorer.identity

        def usual_reasons(self, wanted: int) -> int:
            return wanted

        def answer(self, table: pl.DataFrame, reasons: int) -> bytes:
            raise RuntimeError(SECRET)

    app = create_app("tiny", lambda: Broken())  # type: ignore[arg-type,return-value]
    client = Client(app)
    answer = client.post("/score", json={"rows": rows(made, scorer)[:1]})
    assert answer.status_code == 500
    assert answer.json() == {"field": "server", "error": "the request failed"}
    assert SECRET not in caplog.text
    assert "RuntimeError" in caplog.text


def test_the_page_needs_no_network_and_names_the_columns(scorer, client):
    page = client.get("/docs").text
    assert "https://" not in page.replace("https://fastapi.tiangolo.com", "")
    assert '<html lang="en">' in page and '<main id="swagger-ui">' in page
    told = client.get("/openapi.json").json()
    body = told["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    columns = body["schema"]["properties"]["rows"]["items"]["properties"]
    assert set(columns) == set(scorer.columns)
    assert body["schema"]["properties"]["reasons"]["maximum"] == 20
    sent = client.post("/score?reasons=1", json=body["example"])
    assert sent.status_code == 200
    response = told["paths"]["/score"]["post"]["responses"]["200"]["content"]["application/json"]
    (shown,) = response["example"]["people"]
    for person in sent.json()["people"]:
        assert set(person) == set(shown)
        assert all(set(reason) == set(shown["reasons"][0]) for reason in person["reasons"])
    frame = pl.DataFrame(body["example"]["rows"])
    text = io.BytesIO()
    frame.write_csv(text)
    again = client.post(
        "/score?reasons=1", content=text.getvalue(), headers={"content-type": "text/csv"}
    )
    assert again.json() == sent.json()
