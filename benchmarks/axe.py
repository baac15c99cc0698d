"""Faults that axe-core finds in the pages that this project makes, in light and dark.

    python -m benchmarks.axe AXE_JS PAGE... [--json FILE]

AXE_JS is axe.min.js of the npm package axe-core; a page is an HTML file, or an address on this
machine. Exit status 1 where a fault is serious or critical.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.browser import Page, browser

SERIOUS = ("serious", "critical")
RUN = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"


def address_of(page: str) -> str:
    """Return what a browser opens."""
    return page if page.startswith("http://") else Path(page).resolve(strict=True).as_uri()


def faults(tab: Page, axe: str, page: str, dark: bool) -> list[dict[str, Any]]:
    """Return every fault of a page: page, theme, rule, impact, what it is, and where.

    Args:
        tab: of a browser.
        axe: axe-core's source.
        page: file or address.
        dark: theme.
    """
    tab.view(1440, dark=dark)
    tab.open(address_of(page))
    # All that can be unfolded is judged too.
    tab.run("document.querySelectorAll('details').forEach(part => part.open = true)")
    tab.run(f"{axe}; null")
    return [
        {
            "page": page,
            "theme": "dark" if dark else "light",
            "rule": fault["id"],
            "impact": fault["impact"],
            "what": fault["help"],
            "where": [node["target"] for node in fault["nodes"]],
        }
        for fault in tab.run(RUN)
    ]


def main() -> None:
    """Judge pages, print what is wrong and a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("axe", type=Path, nargs="?")
    parser.add_argument("pages", nargs="*")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    if not wanted.pages:
        # `make bench` has no axe-core.
        print("not measured: name axe.min.js and pages")
        if wanted.json:
            wanted.json.write_text("[]", encoding="utf-8")
        return
    found = []
    source = wanted.axe.read_text(encoding="utf-8")
    with browser() as tab:
        for page in wanted.pages:
            for dark in (False, True):
                found += faults(tab, source, page, dark)
    for fault in found:
        print(f"{fault['impact']}: {fault['rule']} ({fault['what']}) {fault['page']}, "
              f"{fault['theme']}, {len(fault['where'])} places: {fault['where'][:3]}")  # fmt: skip
    serious = [fault for fault in found if fault["impact"] in SERIOUS]
    lesser = sum(len(f["where"]) for f in found) - sum(len(f["where"]) for f in serious)
    row = {
        "name": "review/axe/serious_faults",
        "value": sum(len(fault["where"]) for fault in serious),
        "unit": f"in {len(wanted.pages)} pages, light and dark; lesser ones: {lesser}",
    }
    print(row)
    if wanted.json:
        wanted.json.write_text(json.dumps([row]), encoding="utf-8")
    sys.exit(bool(serious))


if __name__ == "__main__":
    main()
