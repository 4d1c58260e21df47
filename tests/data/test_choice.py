import pytest

from segue.data.choice import parsed, separated
from segue.errors import DataError


@pytest.mark.parametrize(("text", "expected"), [("3", (3,)), ("0-2,7", (0, 1, 2, 7)), (" 1 , 0 ", (1, 0))])
def test_spans_of_episodes_are_read(text: str, expected: tuple[int, ...]) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "0-99999999999", "1.5", "\u00b2"])
def test_other_words_are_no_episodes(text: str) -> None:
    with pytest.raises(DataError, match="--episodes"):
        parsed(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("a", ("a",)), (" a, b/c ", ("a", "b/c")), ("/obs/x/,y", ("obs/x", "y"))]
)
def test_names_are_separated_by_commas(text: str, expected: tuple[str, ...]) -> None:
    assert separated(text, "--state") == expected


@pytest.mark.parametrize("text", ["", ",", "a,", "a,,b", "a,b,a", "a,/a"])
def test_empty_and_repeated_names_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="--state"):
        separated(text, "--state")
