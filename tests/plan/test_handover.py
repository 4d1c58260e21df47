"""Handovers: what the drawing shows is what plans do."""

import numpy as np
import pytest

from segue.plan import handover as module
from segue.plan.delay import WindowQuantile
from segue.plan.handover import Handover
from segue.plan.plan import Delivery, Plan, Request

HORIZON, S, D = 8, 6, 2
CHUNK = np.arange(HORIZON, dtype=np.float32)[:, None]


def drawn() -> dict[str, tuple[str, int]]:
    """Of each row of the drawing: its steps, and the step of the request that its words name."""
    rows = [line.split() for line in (module.__doc__ or "").splitlines() if "asked for in step" in line]
    return {
        row[0]: (" ".join(row[1 : row.index("asked")]), int(row[row.index("step") + 1].rstrip(",;"))) for row in rows
    }


def asked(plan: Plan) -> Request:
    request = plan.request()
    assert request is not None
    return request


@pytest.mark.parametrize("handover", Handover)
def test_the_drawing_is_what_a_plan_does(handover: Handover) -> None:
    plan = Plan(HORIZON, 1, S, WindowQuantile(D), handover)
    assert plan.deliver(asked(plan), CHUNK) is Delivery.TAKEN
    request, shown = None, ""
    for step in range(10):
        if request is not None and step == request.step + D:
            assert plan.deliver(request, CHUNK) is Delivery.TAKEN
        request = request or plan.request()
        tick = plan.tick()
        first = tick.chunk == 2 and "|" not in shown
        shown += ("|" if first else " ") + ("." if tick.index is None else str(tick.index))
    assert request is not None
    assert drawn()[handover.value.capitalize()] == (shown.strip(), request.step)


def test_a_chunk_that_was_waited_for_is_executed_from_its_first_action_also_if_s_was_raised_meanwhile() -> None:
    plan = Plan(HORIZON, 1, 2, WindowQuantile(0), Handover.WAIT)
    plan.deliver(asked(plan), CHUNK)
    assert [plan.tick().index for _ in range(2)] == [0, 1]
    request = asked(plan)
    plan.execution_horizon = 4
    assert [plan.tick().index for _ in range(3)] == [2, 3, None]
    plan.deliver(request, CHUNK)
    assert plan.tick().index == 0
