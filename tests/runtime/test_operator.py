"""The operator: a table of events and stages, and invariants over random ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.runtime.operator import Operator, Stage

WORDS = {"run": Stage.RUNNING, "let go": Stage.LETTING_GO, "paused": Stage.PAUSED, "resume": Stage.RESUMING}


def do(operator: Operator, event: str) -> None:
    match event:
        case "pause" | "resume":
            operator.wanted = event == "pause"
        case "stood still":
            operator.let_go()
        case "refused":
            operator.refuse("moved too far")
        case "new episode":
            operator.begin()
        case _:
            assert event == "at rest"


@pytest.mark.parametrize(
    ("events", "stages"),
    [
        # events before each slot, and its stage
        (["", "", "at rest", "at rest"], "run, run, run, run"),
        (["pause", "", "at rest", "at rest", "resume, at rest", ""], "let go, let go, paused, paused, resume, run"),
        # at rest already
        (["pause, at rest", "resume, at rest", "at rest"], "paused, resume, run"),
        # a pause that is over before the robot is at rest; one that comes while it goes on
        (["pause", "resume", "", "at rest", ""], "let go, let go, let go, resume, run"),
        (["pause, at rest", "resume, at rest", "pause", "at rest"], "paused, resume, let go, paused"),
        # a machine that stood still is asked by nobody to pause
        (["stood still", "", "at rest", ""], "let go, let go, resume, run"),
        (["stood still", "pause", "at rest", "at rest"], "let go, let go, paused, paused"),
        # a robot that cannot go on stays where it is, until it is asked for again
        (["pause, at rest", "resume, at rest", "refused, at rest", "at rest"], "paused, resume, paused, paused"),
        (["stood still, at rest", "refused, at rest", "resume, at rest", ""], "resume, paused, resume, run"),
        # a new episode: what could not go on is over, what is asked for is not
        (["stood still, at rest", "refused, at rest", "new episode", ""], "resume, paused, run, run"),
        (["pause", "new episode", "at rest"], "let go, let go, paused"),
        (["stood still", "new episode"], "let go, run"),
    ],
)
def test_the_way_to_a_pause_and_back(events: list[str], stages: str) -> None:
    operator, found = Operator(), []
    for event in events:
        for each in filter(None, event.split(", ")):
            do(operator, each)
        found.append(operator.slot(at_rest="at rest" in event))
    assert found == [WORDS[stage] for stage in stages.split(", ")]


def test_why_a_run_cannot_go_on_is_known_until_it_goes_on() -> None:
    operator = Operator()
    do(operator, "pause")
    operator.slot(at_rest=True)
    do(operator, "resume")
    assert operator.slot(at_rest=True) is Stage.RESUMING
    do(operator, "refused")
    assert operator.slot(at_rest=True) is Stage.PAUSED
    assert operator.refused == "moved too far"
    do(operator, "resume")
    assert operator.slot(at_rest=True) is Stage.RESUMING
    assert operator.refused == ""
    do(operator, "refused")
    do(operator, "new episode")
    assert operator.refused == ""


@given(st.lists(st.tuples(st.sampled_from(["", "pause", "resume", "stood still"]), st.booleans())))
def test_nothing_is_sent_only_to_a_robot_at_rest_and_a_run_goes_on_only_by_way_of_resuming(
    slots: list[tuple[str, bool]],
) -> None:
    operator, before = Operator(), Stage.RUNNING
    for event, still in slots:
        if event:
            do(operator, event)
        at_rest = still or before is Stage.PAUSED  # nothing moves it then
        stage = operator.slot(at_rest)
        assert at_rest or stage in (Stage.RUNNING, Stage.LETTING_GO)
        assert (stage is Stage.PAUSED) <= operator.wanted
        assert stage is not Stage.RUNNING or before in (Stage.RUNNING, Stage.RESUMING)
        assert not (operator.wanted and stage in (Stage.RUNNING, Stage.RESUMING))
        before = stage
