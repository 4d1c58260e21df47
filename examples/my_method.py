"""A method of your own: lean towards the previous chunk, and let the policy have the last word.

python examples/my_method.py
segue bench adroit-door --methods naive,rtc,my_method:Lean,my_method:Lean:force=3 --delays 4
"""

from dataclasses import dataclass

from torch import Tensor

from segue.learn import Field, Hooks, Prefix, Step, estimate, no_weights


@dataclass(frozen=True)
class Lean:
    """A pull to the previous chunk that fades over the overlap; a force of 0 is plain sampling."""

    force: float = 1.0

    def hooks(self, prefix: Prefix) -> Hooks:
        """Follow the velocity with the pull, and without it at the last solver step."""
        pull = self.force * prefix.weights(None, "cosine")[..., None]

        def guide(field: Field, x: Tensor, step: Step) -> Tensor:
            velocity = field(x, step.t)
            return velocity if step.last else velocity + pull * (prefix.reference - estimate(x, step.t, velocity))

        return Hooks(no_weights(prefix), guide)


if __name__ == "__main__":
    print(f"my_method:Lean is {Lean()}, my_method:Lean:force=3 {Lean(3.0)}")
