"""Models of the inference delay, and their text forms."""

from pathlib import Path

import numpy as np
import pytest

from segue.errors import DataError, UnknownNameError
from segue.lab.delays import DelayModel, Fixed, HeavyTail, Jitter, Recorded, delay_model, parse_delays


def drawn(model: DelayModel, count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([model.draw(rng) for _ in range(count)])


def test_fixed() -> None:
    assert set(drawn(Fixed(3), 10)) == {3}
    assert Fixed(3).typical == 3


def test_jitter_covers_its_interval_evenly_and_is_never_negative() -> None:
    values, counts = np.unique(drawn(Jitter(5, 2)), return_counts=True)
    assert values.tolist() == [3, 4, 5, 6, 7]
    assert (np.abs(counts / 4000 - 1 / 5) < 5 * np.sqrt(0.2 * 0.8 / 4000)).all()
    assert set(drawn(Jitter(1, 3))) == {0, 1, 2, 3, 4}


def test_heavy_tail_is_mostly_usual_with_outliers_of_the_stated_mean() -> None:
    values = drawn(HeavyTail(4, share=0.25, mean_extra=6.0), 20_000)
    outliers = values[values > 4] - 4
    assert values.min() == 4
    assert abs(len(outliers) / 20_000 - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 20_000)
    deviation = np.sqrt(6 * 5)  # geometric distribution with mean m: variance m (m - 1)
    assert abs(outliers.mean() - 6) < 5 * deviation / np.sqrt(len(outliers))


@pytest.mark.parametrize("model", [Fixed(3), Jitter(5, 2), HeavyTail(4), Recorded((1, 2, 9))])
def test_draws_depend_on_the_generator_only(model: DelayModel) -> None:
    assert drawn(model, 50).tolist() == drawn(model, 50).tolist()
    assert all(isinstance(model.draw(np.random.default_rng(i)), int) for i in range(5))


def test_a_trace_becomes_control_steps_rounded_up(tmp_path: Path) -> None:
    """A latency of a whole number of steps stays that number, although 0.07 / 0.01 is more than 7 in floating point."""
    (tmp_path / "trace.txt").write_text("# measured\n0\n0.001\n0.07\n0.0701\n0.29\n")
    recorded = Recorded.from_file(tmp_path / "trace.txt", dt=0.01)
    assert recorded.steps == (0, 1, 7, 8, 29)
    assert recorded.typical == 7
    assert set(drawn(recorded, 200)) == {0, 1, 7, 8, 29}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("content", ["", "fast\n", "0.1\n-0.1\n", "0.1\nnan\n", "inf\n", "0.1 0.2\n0.1 0.3\n"])
def test_what_is_no_trace_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "trace.txt").write_text(content)
    with pytest.raises(DataError, match="one latency in seconds per line"):
        Recorded.from_file(tmp_path / "trace.txt", dt=0.01)


def test_a_missing_or_binary_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name in ("nowhere", "binary"):
        with pytest.raises(DataError, match=name):
            Recorded.from_file(tmp_path / name, dt=0.01)


def test_models_by_name() -> None:
    assert delay_model("fixed", 4) == Fixed(4)
    assert delay_model("jitter", 8) == Jitter(8, 2)
    assert delay_model("jitter", 0) == Jitter(0, 1)
    assert delay_model("heavy-tail", 4).typical == 4
    with pytest.raises(UnknownNameError, match="did you mean 'heavy-tail'"):
        delay_model("heavytail", 4)


def test_delays_from_text() -> None:
    assert parse_delays("0,4, 8 ,12") == [0, 4, 8, 12]
    assert parse_delays("4,0,4") == [4, 0]


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1.5", "0,-1", "4;8"])
def test_what_is_no_list_of_delays_is_refused(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_delays(text)
    assert repr(text) in caught.value.got
    assert caught.value.change
