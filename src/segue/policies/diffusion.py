"""Diffusion policies (arXiv 2303.04137): the network says which noise is in a noisy chunk, and DDIM takes it out.

    x_k = sqrt(abar_k) A + sqrt(1 - abar_k) noise        diffusion step k, 0 nearly clean, K - 1 nearly noise

The networks of the flow policies serve here too. They are told ``t = 1 - (k + 1) / K``, so that 0 is noise as
everywhere.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segue.errors import MissingExtraError, SpecError
from segue.policies.config import FamilyConfig
from segue.policies.networks import build_network
from segue.policies.policy import mean_error, refuse_guidance
from segue.policies.units import NormalizedUnits
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import Demonstrated, TrainingPair

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

TRAINING_STEPS = 100
"""K, diffusion steps that the network is trained on, as in the paper."""


def scheduler(bound: float = 1.0) -> "DDIMScheduler":
    """Noise schedule and sampler: squared cosine, epsilon prediction (arXiv 2010.02502, 2102.09672).

    Args:
        bound: Largest magnitude of an estimated chunk while sampling, policy units. Early estimates divide by a small
            ``sqrt(abar)``, which makes errors large; nothing demonstrated lies beyond.

    Raises:
        MissingExtraError: diffusers is not installed.
    """
    try:
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    except ImportError as error:
        raise MissingExtraError("diffusers", "diffusion", "a diffusion policy") from error
    return DDIMScheduler(
        num_train_timesteps=TRAINING_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="epsilon",
        clip_sample=True,
        clip_sample_range=bound,
    )


def flow_time(step: Tensor) -> Tensor:
    """What a network is told for a diffusion step, ``t = 1 - (k + 1) / K``. Shape (batch,)."""
    return 1 - (step.to(torch.float32) + 1) / TRAINING_STEPS


@dataclass(frozen=True)
class DiffusionPolicyConfig(FamilyConfig):
    """A diffusion policy.

    Attributes:
        network: Name of the network. The paper's is ``unet``.
        denoising_steps: N, DDIM steps per inference.
    """

    network: str = "unet"
    denoising_steps: int = 10

    @property
    def family(self) -> str:
        """``diffusion``."""
        return "diffusion"


class DiffusionPolicy(nn.Module):
    """A diffusion policy, sampled by deterministic DDIM; its weights are drawn from torch's global generator.

    Attributes:
        bound: Largest magnitude of a demonstrated chunk in policy units, scalar.
    """

    bound: Tensor

    def __init__(self, config: DiffusionPolicyConfig, units: NormalizedUnits) -> None:
        super().__init__()
        scheduler()  # a missing package should be known before minutes of training
        self.config, self.units = config, units
        self.register_buffer("bound", torch.ones(()))
        self.network: nn.Module = build_network(
            config.network,
            config.network_settings,
            horizon=config.horizon,
            action=len(config.action_names),
            context=units.context,
        )

    def fit(self, chunks: Tensor) -> None:
        """Take the bound of the demonstrated chunks, policy units (frames, horizon, action)."""
        self.bound.copy_(chunks.abs().max())

    def noise_in(self, x: Tensor, step: Tensor, context: Tensor) -> Tensor:
        """Estimate of ``E[noise | x]``. x (batch, horizon, action), diffusion step (batch,)."""
        t = flow_time(step)
        return self.network(x, t, torch.zeros_like(x[..., 0]), context)

    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        """Squared error of the noise, mean over samples of the mean over the positions that count. Scalar."""
        return mean_error((self.network(pair.x, pair.t, pair.w, context) - pair.target).square(), pair.mask)

    def continue_chunk(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Tensor:
        """One chunk per observation, policy units (batch, horizon, action); the finishing hook applies.

        Raises:
            SpecError: The strategy steers a velocity field, or there are more steps than diffusion steps.
        """
        hooks = strategy.hooks(prefix)
        refuse_guidance(hooks, self.config.family)
        if not 1 <= steps <= TRAINING_STEPS:
            raise SpecError(
                got=f"{steps} denoising steps",
                expected=f"1 to {TRAINING_STEPS}, the diffusion steps that the policy was trained with",
                change="change the number of steps",
            )
        ddim = scheduler(float(self.bound))
        ddim.set_timesteps(steps)
        context, x = self.units.encode(observation), noise
        for step in ddim.timesteps:
            k = int(step)
            said = self.noise_in(x, x.new_full((len(x),), k), context)
            x = ddim.step(said, k, x, eta=0.0, return_dict=False)[0]
        return hooks.finish(x)


@dataclass(frozen=True)
class Denoising:
    """Noise prediction at a uniform diffusion step (arXiv 2006.11239, algorithm 1)."""

    @property
    def own_share(self) -> float:
        """No references at all."""
        return 0.0

    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        """``x_k = sqrt(abar_k) A + sqrt(1 - abar_k) noise``, target the noise."""
        chunk = batch.actions
        noise = torch.randn(chunk.shape, generator=generator, dtype=chunk.dtype)
        k = torch.randint(0, TRAINING_STEPS, (len(chunk),), generator=generator)
        remaining = scheduler().alphas_cumprod[k].to(chunk.dtype).to(chunk.device)[:, None, None]
        noise = noise.to(chunk.device)
        x = remaining.sqrt() * chunk + (1 - remaining).sqrt() * noise
        t = flow_time(k).to(chunk.device)
        return TrainingPair(x, t, torch.zeros_like(chunk[..., 0]), noise, batch.valid)
