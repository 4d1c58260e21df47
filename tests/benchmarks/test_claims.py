"""Numbers in prose: each claim is what the results say, and a wrong or stale one is found."""

import claims
import pytest

CLAIMS = claims.claims()
LEFT = {"docs/results.md": 58, "docs/index.md": 0, "README.md": 0}
"""Numbers that have no claim yet, by page: whoever writes a new one writes its claim."""


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim['page']}: {claim['number']} in {claim['said']}")
def test_a_number_is_what_the_results_say(claim: dict[str, str]) -> None:
    assert claims.wrong(claim, (claims.ROOT / claim["page"]).read_text()) == ""


def test_a_number_that_is_wrong_or_gone_is_found() -> None:
    claim = CLAIMS[0]
    text = (claims.ROOT / claim["page"]).read_text()
    other = f"{float(claim['number']) + 0.01:.2f}"
    said = claim["said"].replace(claim["number"], other)
    assert "has " in claims.wrong({**claim, "number": other, "said": said}, text.replace(claim["said"], said))
    assert "does not say" in claims.wrong(claim, text.replace(claim["said"], ""))
    assert "nan" in claims.wrong({**claim, "method": "nobody"}, text)


@pytest.mark.parametrize("page", LEFT)
def test_a_new_number_needs_a_claim(page: str) -> None:
    assert claims.unclaimed(page) == LEFT[page]
