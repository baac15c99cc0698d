"""Malformed requests by schemathesis from a server's own OpenAPI page. Runs in .venv.peers.

    python fuzzer.py URL COUNT

Prints one JSON line: how many answers of each status, and those that a client should never see.
"""

import json
import random
import re
import sys
from collections import Counter

import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st

# What only the inside of a program says.
INSIDE = re.compile(r"Traceback|File \"/|\.py\b|Exception|Error:|line \d+, in ")
# Stands in cells that are wrong; no answer may repeat it.
SECRET = "q7Vx-personal-31337"
KINDS = ("application/json", "text/csv", "text/plain", "application/xml", "")


def broken(rows):
    """Requests that are nearly right: true rows with something wrong in one, or cut bytes."""
    row, count = rows[0], st.integers(-2, 25)
    whole = json.dumps({"rows": rows, "reasons": 4}).encode()

    def body(changed, asked):
        """A body with another first row, and reasons as asked for."""
        more = {} if asked is None else {"reasons": asked}
        return json.dumps({"rows": [changed, *rows[1:]], **more}).encode()

    cells = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40),
        st.just(SECRET), st.lists(st.integers(), max_size=3),
        st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
        st.just(10**400), st.just("1e999"), st.just("\u0000"), st.just("NaN"),
    )  # fmt: skip
    changed = st.builds(
        lambda name, value, asked: body({**row, name: value}, asked),
        st.one_of(st.sampled_from(sorted(row)), st.text(max_size=12)),
        cells,
        st.one_of(st.none(), count, cells),
    )
    dropped = st.sampled_from(sorted(row)).map(
        lambda name: body({k: v for k, v in row.items() if k != name}, None)
    )
    cut = st.integers(0, len(whole)).map(lambda at: whole[:at])
    spliced = st.builds(
        lambda at, noise: whole[:at] + noise + whole[at:],
        st.integers(0, len(whole)),
        st.binary(min_size=1, max_size=20),
    )
    header = ",".join(row).encode()
    table = st.binary(max_size=200).map(lambda noise: header + b"\n" + noise)
    return st.tuples(
        st.one_of(changed, dropped, cut, spliced, table, st.binary(max_size=300)),
        st.sampled_from(KINDS),
        st.one_of(st.none(), count, st.just(SECRET), st.text(max_size=8)),
    )


class Seen:
    """Answers so far."""

    def __init__(self):
        """None yet."""
        self.statuses, self.wrong = Counter(), []

    def add(self, status, text):
        """Count an answer; keep the start of one that should not be."""
        self.statuses[status] += 1
        if status >= 500 or INSIDE.search(text) or SECRET in text:
            self.wrong.append([status, text[:200]])


def run(strategy, count, send):
    """Send so many examples of a strategy; the same ones for the same versions."""
    settings = hypothesis.settings(
        max_examples=count, database=None, deadline=None, derandomize=True,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip

    @settings
    @hypothesis.given(strategy)
    def each(example):
        send(example)

    each()


def main():
    """Half by the schema, half by changing a true row."""
    url, count = sys.argv[1], int(sys.argv[2])
    random.seed(0)
    page = requests.get(f"{url}/openapi.json", timeout=10).json()
    body = page["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    rows = body["example"]["rows"]
    schema = schemathesis.openapi.from_dict(page)
    operation = schema["/score"]["POST"]
    seen, session = Seen(), requests.Session()

    def call(case):
        answer = case.call(base_url=url, session=session, timeout=30)
        seen.add(answer.status_code, answer.text)

    def post(example):
        data, kind, reasons = example
        headers = {"Content-Type": kind} if kind else {}
        asked = {} if reasons is None else {"reasons": reasons}
        answer = session.post(f"{url}/score", params=asked, data=data, headers=headers, timeout=30)
        seen.add(answer.status_code, answer.text)

    negative = schemathesis.GenerationMode.NEGATIVE
    rounds = 0
    while sum(seen.statuses.values()) < count // 2 and rounds < 50:
        run(operation.as_strategy(generation_mode=negative), 500, call)
        rounds += 1
    by_schema = sum(seen.statuses.values())
    while sum(seen.statuses.values()) < count and rounds < 200:
        run(broken(rows), 1000, post)
        rounds += 1
    print(
        json.dumps({"statuses": dict(seen.statuses), "by_schema": by_schema, "wrong": seen.wrong})
    )


if __name__ == "__main__":
    main()
