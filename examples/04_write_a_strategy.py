"""A strategy of your own: where the flow starts, what becomes of the velocity, what becomes of the finished chunk.

`Magnet` holds the committed positions, pulls the overlap to the previous chunk with a force that fades with flow time,
and takes half of the rest out at the end. (An example, not a recommendation.)

    python examples/04_write_a_strategy.py
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from segue.lab import task
from segue.learn import Field, Hooks, Naive, Prefix, Step, config_for, estimate, policy_for


@dataclass(frozen=True)
class Magnet:
    """Hard prefix, fading pull, half a cross-fade."""

    force: float = 2.0

    def hooks(self, prefix: Prefix) -> Hooks:
        """The three decisions."""
        w = prefix.weights(None, "cosine")[..., None]

        def guide(field: Field, x: Tensor, step: Step) -> Tensor:
            velocity = field(x, step.t)
            return velocity + self.force * (1 - step.t) * w * (prefix.reference - estimate(x, step.t, velocity))

        return Hooks(prefix.weights(0, "step"), guide, finish=lambda new: new + 0.5 * w * (prefix.reference - new))


def main() -> None:
    torch.manual_seed(0)
    episodes = task("adroit-door").demonstrations()
    policy = policy_for(config_for("flow", episodes, horizon=16), episodes)  # untrained
    observation = torch.as_tensor(episodes.observation[100:101])
    reference = policy.units.to_policy(torch.as_tensor(episodes.action[None, 100:116]), observation)
    prefix = Prefix(reference, torch.tensor([12]), torch.tensor([4]), torch.ones((1, 16), dtype=torch.int64))
    noise = torch.randn_like(reference)
    print("distance to the previous chunk per position: 4 committed, 8 overlap, 4 free")
    for strategy in (Naive(), Magnet()):
        with torch.no_grad():
            chunk = policy.continue_chunk(strategy, observation, prefix, noise, steps=5)
        distance = (chunk - reference).square().mean((0, 2)).sqrt()
        print(f"{type(strategy).__name__:7}", *(f"{value:.2f}" for value in distance.tolist()))


if __name__ == "__main__":
    main()
