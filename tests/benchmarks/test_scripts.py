"""Every benchmark can be run by `make bench`."""

from benchmarks.__main__ import HERE, scripts


def test_every_script_writes_its_rows_where_it_is_told() -> None:
    """`make bench` asks each for --json, and one that knows no such option would stop it."""
    texts = {name: (HERE / f"{name}.py").read_text(encoding="utf-8") for name in scripts()}
    assert {"attack", "cells", "recipes", "transfer"} <= set(texts)
    assert [name for name, text in texts.items() if '"--json"' not in text] == []
