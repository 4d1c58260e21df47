"""Diffusion policies (arXiv 2303.04137): the network says what is under the noise of a chunk, and DDIM takes it out.

    x_k = sqrt(abar_k) A + sqrt(1 - abar_k) noise        diffusion step k, 0 nearly clean, K - 1 nearly noise

Noise and actions follow from each other. The paper's network says the noise; here it says the actions unless asked,
which on small networks are much the easier target: the noise does not fit through one that is narrower than the chunk.

The networks of the flow policies serve here too. They are told ``t = 1 - (k + 1) / K``, so that 0 is noise as
everywhere.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from segue.errors import MissingExtraError, SpecError, UnknownNameError
from segue.policies.config import FamilyConfig
from segue.policies.policy import Policy, mean_error, refuse_guidance
from segue.policies.processor import NormalizedUnits
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import Demonstrated, Objective, TrainingPair

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

TRAINING_STEPS = 100
"""K, diffusion steps that the network is trained on, as in the paper."""

PREDICTIONS: dict[str, Literal["epsilon", "sample"]] = {"noise": "epsilon", "action": "sample"}
"""Predictions of a network, and their names in diffusers."""


def scheduler(bound: float = 1.0, predicts: str = "action") -> "DDIMScheduler":
    """Noise schedule and sampler: squared cosine (arXiv 2010.02502, 2102.09672).

    Args:
        bound: Largest magnitude of an estimated chunk while sampling, policy units. Early estimates divide by a small
            ``sqrt(abar)``, which makes errors large; nothing demonstrated lies beyond.
        predicts: What the network says, ``noise`` or ``action``.

    Raises:
        MissingExtraError: diffusers is not installed.
        UnknownNameError: A network cannot say this.
    """
    try:
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    except ImportError as error:
        raise MissingExtraError("diffusers", "diffusion", "a diffusion policy") from error
    if predicts not in PREDICTIONS:
        raise UnknownNameError("prediction of a diffusion policy", predicts, PREDICTIONS)
    return DDIMScheduler(
        num_train_timesteps=TRAINING_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=PREDICTIONS[predicts],
        clip_sample=True,
        clip_sample_range=bound,
    )


def flow_time(step: Tensor) -> Tensor:
    """Turn diffusion steps into the flow times that a network is told, ``t = 1 - (k + 1) / K``. Shape (batch,)."""
    return 1 - (step.to(torch.float32) + 1) / TRAINING_STEPS


@cache
def _remaining() -> Tensor:
    """Keep ``abar``, which every training step asks for twice. Shape (K,)."""
    return scheduler().alphas_cumprod


def _shares(t: Tensor) -> tuple[Tensor, Tensor]:
    """``sqrt(abar_k)`` and ``sqrt(1 - abar_k)`` of the flow times of diffusion steps. Shape (batch, 1, 1)."""
    k = ((1 - t) * TRAINING_STEPS - 1).round().long().cpu()
    remaining = _remaining()[k].to(t)[:, None, None]
    return remaining.sqrt(), (1 - remaining).sqrt()


@dataclass(frozen=True)
class DiffusionPolicyConfig(FamilyConfig):
    """A diffusion policy.

    Attributes:
        network: Name of the network. The paper's is ``unet``.
        predicts: What the network says, ``action``, or ``noise`` as in the paper.
        denoising_steps: N, DDIM steps per inference.
    """

    family: ClassVar[str] = "diffusion"

    network: str = "unet"
    predicts: str = "action"
    denoising_steps: int = 10


class DiffusionPolicy(Policy):
    """A diffusion policy, sampled by deterministic DDIM; its weights are drawn from torch's global generator.

    Attributes:
        bound: Largest magnitude of a demonstrated chunk in policy units, scalar.
    """

    bound: Tensor

    def __init__(self, config: DiffusionPolicyConfig, units: NormalizedUnits) -> None:
        super().__init__()
        scheduler(predicts=config.predicts)  # a missing package should be known before minutes of training
        self.config, self.units = config, units
        self.spec, self.denoising_steps = config.spec, config.denoising_steps
        self.register_buffer("bound", torch.ones(()))
        self.network: nn.Module = config.built(units.context)

    def fit(self, chunks: Tensor) -> None:
        """Take the bound of the demonstrated chunks, policy units (frames, horizon, action)."""
        self.bound.copy_(chunks.abs().max())

    @override
    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        wanted = pair.target
        if self.config.predicts == "action":
            of_actions, of_noise = _shares(pair.t)
            wanted = (pair.x - of_noise * pair.target) / of_actions
        return mean_error((self.network(pair.x, pair.t, pair.w, context) - wanted).square(), pair.mask)

    @override
    def continue_chunk(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Tensor:
        hooks = strategy.hooks(prefix)
        refuse_guidance(hooks, self.config.family)
        if not 1 <= steps <= TRAINING_STEPS:
            raise SpecError(
                got=f"{steps} denoising steps",
                expected=f"1 to {TRAINING_STEPS}, the diffusion steps that the policy was trained with",
                change="change the number of steps",
            )
        ddim = scheduler(float(self.bound), self.config.predicts)
        ddim.set_timesteps(steps)
        context, x = self.units.encode(observation), noise
        for step in ddim.timesteps:
            t = flow_time(x.new_full((len(x),), float(step)))
            said = self.network(x, t, torch.zeros_like(x[..., 0]), context)
            x = ddim.step(said, int(step), x, eta=0.0, return_dict=False)[0]
        return hooks.finish(x)


@dataclass(frozen=True)
class Denoising(Objective):
    """The noise is the target, at a uniform diffusion step ``x_k`` (arXiv 2006.11239, algorithm 1)."""

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        chunk = batch.actions
        noise = torch.randn(chunk.shape, generator=generator, dtype=chunk.dtype)
        k = torch.randint(0, TRAINING_STEPS, (len(chunk),), generator=generator)
        t, noise = flow_time(k).to(chunk), noise.to(chunk.device)
        of_actions, of_noise = _shares(t)
        x = of_actions * chunk + of_noise * noise
        return TrainingPair(x, t, torch.zeros_like(chunk[..., 0]), noise, batch.valid)
