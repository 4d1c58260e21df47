"""Numbers in prose: each claim is what the results say, and a wrong or stale one is found."""

import claims
import pytest

CLAIMS = claims.claims()
LEFT = {
    "README.md": "",
    "docs/index.md": "",
    "docs/choose.md": "",
    "docs/limits.md": "",
    "docs/public-code.md": "",
    "docs/vision.md": "",
    "docs/results.md": "1.35",  # an angle of the environment
    "docs/tuning.md": "0.08 0.02 0.024 0.041 0.022 0.037",  # bounds of the rules; the page's own tables
    "docs/scale.md": "0.80 0.93 0.88 0.99 0.90 0.41 0.36 0.46 0.53 0.23",  # of benchmarks that are named there
    "docs/methods.md": "0.02",  # milliseconds, with the command
    "docs/results/pen.md": "",
    # the page's own tables; a latency; and an evaluation whose command stands there
    "docs/latent.md": "0.026 0.15 0.05 0.44 0.093 0.047 0.36 0.44 0.08 0.92 0.84 "
    "0.657 0.648 0.666 0.669 0.665 0.674 6.43 6.44 0.417 0.482 0.36 0.44",
}
"""Numbers that no results file holds, by page: whoever writes a new one writes its claim."""


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim['page']}: {claim['number']} in {claim['said']}")
def test_a_number_is_what_the_results_say(claim: dict[str, str]) -> None:
    assert claims.wrong(claim, (claims.ROOT / claim["page"]).read_text()) == ""


OF_MEANS = next(claim for claim in CLAIMS if claim["results"].endswith(".json"))


@pytest.mark.parametrize("claim", [CLAIMS[0], OF_MEANS], ids=lambda claim: claim["results"])
def test_a_number_that_is_wrong_or_gone_is_found(claim: dict[str, str]) -> None:
    text = (claims.ROOT / claim["page"]).read_text()
    other = f"{float(claim['number']) + 0.01:.2f}"
    said = claim["said"].replace(claim["number"], other)
    assert "has " in claims.wrong({**claim, "number": other, "said": said}, text.replace(claim["said"], said))
    assert "does not say" in claims.wrong(claim, text.replace(claim["said"], ""))
    assert "nan" in claims.wrong({**claim, "method": "nobody"}, text)


@pytest.mark.parametrize("page", LEFT)
def test_a_new_number_needs_a_claim(page: str) -> None:
    assert claims.unclaimed(page) == LEFT[page].split()
