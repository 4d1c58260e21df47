"""Checks the numbers in the prose of pages against results/: one line of claims.csv per number.

    python benchmarks/claims.py     exit status 1 where a page says what the results do not

A claim is: on this page stand these words, and the number in them is the mean over the episodes of this cell, or what a
file of means has under this name.
"""

import csv
import json
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np

from segue.lab import results

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"(?<!Python )\b\d+\.\d{2,3}\b")
"""Numbers that look like a share or a score."""


@cache
def _read(name: str) -> results.Results:
    return results.read(ROOT / "results" / name / "results.json")


def words(page: str) -> str:
    """Prose of a page in one line, without code and tables."""
    text = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    return " ".join(" ".join(line for line in text.splitlines() if not line.startswith("|")).split())


def wrong(claim: dict[str, str], page: str) -> str:
    """What is wrong with a claim; empty for nothing."""
    if claim["said"] not in words(page) or claim["number"] not in claim["said"]:
        return f"{claim['page']} does not say {claim['number']!r} in {claim['said']!r}"
    place, mean = _measured(claim)
    shown = f"{mean:,.{len(claim['number'].partition('.')[2])}f}"
    if shown == claim["number"]:
        return ""
    return f"{claim['page']} says {claim['number']} in {claim['said']!r}; {claim['results']} has {shown} for {place}"


def _measured(claim: dict[str, str]) -> tuple[object, float]:
    if claim["results"].endswith(".json"):
        means = json.loads((ROOT / "results" / claim["results"]).read_text())
        return claim["method"], means.get(claim["method"], {}).get(claim["metric"], np.nan)
    place = claim["method"], int(claim["delay"])
    cells = [cell for cell in _read(claim["results"]).cells if (cell.method, cell.delay) == place]
    values = [value for cell in cells for value in cell.values(claim["metric"]) if value == value]
    return place, float(np.mean(values or [np.nan]))


def claims() -> list[dict[str, str]]:
    """All claims, from the file beside this one."""
    with Path(__file__).with_suffix(".csv").open(newline="") as file:
        return list(csv.DictReader(file))


def unclaimed(name: str) -> list[str]:
    """Numbers in the prose of a page that no claim covers, in the order in which they stand there."""
    text = words((ROOT / name).read_text())
    said_there = {each["said"] for each in claims() if each["page"] == name}
    for said in sorted(said_there, key=len, reverse=True):  # one may stand within another
        text = text.replace(said, "")
    return NUMBER.findall(text)


if __name__ == "__main__":
    faults = [fault for each in claims() if (fault := wrong(each, (ROOT / each["page"]).read_text()))]
    print("\n".join(faults) or f"{len(claims())} numbers are what the results say")
    sys.exit(bool(faults))
