"""A policy beside a weak one, for strategies that choose by contrast (arXiv 2408.17355)."""

from typing import Any

from torch import Tensor
from typing_extensions import override

from segue.errors import SpecError
from segue.policies.policy import Policy
from segue.strategies.bid import Bidirectional
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.naive import Naive
from segue.strategies.objective import TrainingPair


class Contrasted(Policy):
    """A policy whose chunks are chosen by contrast to a weak one's; under other strategies it is the policy.

    Both start from the same noise, so that a weak policy that is the policy changes nothing.

    Args:
        policy: Makes the chunks.
        weak: For the same robot, with chunks of the same shape, such as the policy after fewer updates.

    Raises:
        SpecError: Its chunks are others.
    """

    def __init__(self, policy: Policy, weak: Policy) -> None:
        super().__init__()
        if (policy.spec, policy.units.chunk_shape) != (weak.spec, weak.units.chunk_shape):
            raise SpecError(
                got=f"a weak policy with chunks of {weak.units.chunk_shape} for {weak.spec.action_names}",
                expected=f"{policy.units.chunk_shape} for {policy.spec.action_names}, and the same observations",
                change="train it on the same demonstrations with the same settings, for fewer updates",
            )
        self.policy, self.weak = policy, weak
        self.spec, self.units, self.denoising_steps = policy.spec, policy.units, policy.denoising_steps

    @override
    def loss(self, pair: TrainingPair, context: Any) -> Tensor:
        return self.policy.loss(pair, context)

    @override
    def continue_chunk(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Tensor:
        if isinstance(strategy, Bidirectional):
            made = self.weak.continue_chunk(Naive(), observation, prefix, noise, steps)
            # each policy has units of its own: distances are in those of the policy that is chosen from
            made = self.units.to_policy(self.weak.units.to_robot(made, observation), observation)
            strategy = strategy.against(made)
        return self.policy.continue_chunk(strategy, observation, prefix, noise, steps)
