"""How methods look in every drawing, and averaged spectra."""

import numpy as np
import pytest

from segue.lab.report.figures import COLOURS, KNOWN, MARKERS, looks, mean_spectrum

DT = 0.05


def test_looks_differ_and_do_not_depend_on_who_else_takes_part() -> None:
    everyone = looks([*KNOWN, "one-more", "and-another"])
    assert len(set(everyone.values())) == len(everyone)
    for name in KNOWN:
        assert looks([name])[name] == everyone[name]


def test_there_are_looks_for_more_methods_than_colours() -> None:
    count = len(COLOURS) * len(MARKERS)
    crowd = looks([f"method {index}" for index in range(count + 1)])
    assert len(set(crowd.values())) == count
    assert {look.marker for look in crowd.values()} <= set(MARKERS)


def test_a_tone_stands_where_it_belongs_in_the_spectrum() -> None:
    paths = [np.sin(2 * np.pi * 3.0 * DT * np.arange(steps))[:, None] for steps in (100, 173)]
    frequency, density = mean_spectrum(paths, DT)
    width = 0.5 / DT / 48
    assert frequency[np.argmax(density)] == pytest.approx(3.0, abs=width)
