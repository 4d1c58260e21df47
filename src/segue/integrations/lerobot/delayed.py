"""A delay of inference in an evaluation whose clock stands still while the policy computes.

    step          k          k+d                  k+s
    policy sees   |                               |
    robots get    old chunk  new chunk, from its action d on

The robots of a batch go in step, and one plan decides for all of them: their actions lie side by side. An episode
begins when its first chunk is there: the environments of LeRobot cannot wait.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from segue.core.chunk import Array
from segue.integrations.lerobot.engine import steps_of
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Plan, Request, not_finite

Predict = Callable[[Tensor | None, int], Tensor]
"""Leftover (batch, rows, action) or None, and delay -> chunks (batch, horizon, action)."""


class DelayedExecution:
    """Executes chunks that arrive d steps after they were asked for.

    Args:
        delay: d [steps].
        execution_horizon: s [steps]; None for half of the chunk.
    """

    def __init__(self, delay: int, execution_horizon: int | None = None) -> None:
        self.delay, self.execution_horizon = delay, execution_horizon
        self.reset()

    def reset(self) -> None:
        """Start a new episode."""
        self._plan: Plan | None = None
        self._arriving: tuple[int, Request, Array] | None = None

    def action(self, predict: Predict) -> Tensor:
        """The actions of this step, shape (batch, action); asks for chunks when they are due.

        Args:
            predict: The policy, with the observation of this step.

        Raises:
            TimingError: Delay and execution horizon do not fit chunks of this length.
            SpecError: A chunk is not finite: unlike a robot, an evaluation has nothing to learn from going on.
        """
        if self._plan is None:
            return self._begin(predict)
        if self._arriving is not None and self._arriving[0] == self._plan.step:
            _, request, actions = self._arriving
            _deliver(self._plan, request, actions)
        if request := self._plan.request():
            leftover = torch.from_numpy(request.continuation.prefix).unflatten(1, self._shape).transpose(0, 1)
            actions = self._side_by_side(predict(leftover.to(self._device), request.continuation.delay))
            if self.delay == 0:
                _deliver(self._plan, request, actions)
            else:
                self._arriving = self._plan.step + self.delay, request, actions
        return self._tick(self._plan)

    def _begin(self, predict: Predict) -> Tensor:
        """The first chunk, taken without a delay: it says how long chunks are."""
        chunks = predict(None, 0)
        batch, horizon, action = chunks.shape
        self._shape, self._device = (batch, action), chunks.device
        s = steps_of(horizon, self.execution_horizon)
        self._plan = Plan(horizon, batch * action, s, WindowQuantile(self.delay))
        request = self._plan.request()
        assert request is not None, "a new plan asks at once"
        _deliver(self._plan, request, self._side_by_side(chunks))
        return self._tick(self._plan)

    def _tick(self, plan: Plan) -> Tensor:
        tick = plan.tick()
        assert tick.action is not None, "d <= s <= H - d: no chunk ends before the next one is there"
        return torch.from_numpy(tick.action.copy()).view(self._shape).to(self._device)

    @staticmethod
    def _side_by_side(chunks: Tensor) -> Array:
        """Chunks (batch, horizon, action) as one of (horizon, batch * action)."""
        return chunks.float().transpose(0, 1).flatten(1).cpu().numpy()


def _deliver(plan: Plan, request: Request, actions: Array) -> None:
    if plan.deliver(request, actions) is Delivery.REFUSED:
        raise not_finite(actions, request)
