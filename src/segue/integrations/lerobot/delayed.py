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
from segue.integrations.lerobot.engine import fit, unsized
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Request, not_finite

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
        self._plan = unsized(WindowQuantile(self.delay))
        self._arriving: tuple[int, Request, Array] | None = None

    def action(self, predict: Predict) -> Tensor:
        """The actions of this step, shape (batch, action); asks for chunks when they are due.

        Args:
            predict: The policy, with the observation of this step.

        Raises:
            TimingError: Delay and execution horizon do not fit chunks of this length.
            SpecError: A chunk is not finite: unlike a robot, an evaluation has nothing to learn from going on.
        """
        self._deliver_if_due()
        if request := self._plan.request():
            actions = self._asked(request, predict)
            # The first chunk is taken without a delay.
            due = self._plan.step + (0 if self._plan.chunk is None else self.delay)
            self._arriving = due, request, actions
            self._deliver_if_due()
        tick = self._plan.tick()
        assert tick.action is not None, "d <= s <= H - d: no chunk ends before the next one is there"
        return torch.from_numpy(tick.action.copy()).view(self._shape).to(self._device)

    def _asked(self, request: Request, predict: Predict) -> Array:
        """Chunks (batch, horizon, action), as one of (horizon, batch * action)."""
        leftover = None
        if self._plan.chunk is not None:
            left = torch.from_numpy(request.continuation.prefix).unflatten(1, self._shape).transpose(0, 1)
            leftover = left.to(self._device)
        chunks = predict(leftover, request.continuation.delay)
        if leftover is None:
            batch, horizon, action = chunks.shape
            self._shape, self._device = (batch, action), chunks.device
            fit(self._plan, horizon, batch * action, self.execution_horizon)
        return chunks.float().transpose(0, 1).flatten(1).cpu().numpy()

    def _deliver_if_due(self) -> None:
        if self._arriving is not None and self._arriving[0] == self._plan.step:
            (_, request, actions), self._arriving = self._arriving, None
            if self._plan.deliver(request, actions) is Delivery.REFUSED:
                raise not_finite(actions, request)
