"""Regression policies: the whole chunk in one call, without noise (parallel decoding, OpenVLA-OFT, arXiv 2502.19645).

    observation -> network(x = 0, t = 0, w = 0) -> head -> chunk

The networks of the flow policies serve here too, with nothing for their flow state to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from segue.errors import UnknownNameError
from segue.policies.config import FamilyConfig
from segue.policies.heads import build_head
from segue.policies.policy import Policy, mean_error, refuse_guidance
from segue.policies.processor import NormalizedUnits
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import Demonstrated, Objective, TrainingPair

OUTPUT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class RegressionPolicyConfig(FamilyConfig):
    """A regression policy.

    Attributes:
        head: ``continuous`` (absolute error) or ``bins`` (cross-entropy).
        head_settings: Its settings, where they differ from the defaults.
        output_dtype: ``float32``, or ``bfloat16`` to round chunks in policy units to its 8 bits of mantissa, as large
            models in half precision do. An absolute position far from the mean then moves in visible steps: a rounding
            error of up to 2^-8 of its value, which alone makes jerk. Here so that it can be measured.
    """

    family: ClassVar[str] = "regression"
    denoising_steps: ClassVar[int] = 1

    head: str = "continuous"
    head_settings: Mapping[str, Any] = field(default_factory=dict)
    output_dtype: str = "float32"


class RegressionPolicy(Policy):
    """A policy that regresses the chunk; its weights are drawn from torch's global generator."""

    def __init__(self, config: RegressionPolicyConfig, units: NormalizedUnits) -> None:
        super().__init__()
        if config.output_dtype not in OUTPUT_DTYPES:
            raise UnknownNameError("output dtype", config.output_dtype, OUTPUT_DTYPES)
        self.config, self.units = config, units
        self.spec, self.denoising_steps = config.spec, config.denoising_steps
        self.head = build_head(config.head, config.head_settings, len(config.spec.action_names))
        self.network = config.built(units.context, self.head.width)

    def fit(self, chunks: Tensor) -> None:
        """Fit the head to the demonstrated chunks, policy units (frames, horizon, action)."""
        self.head.fit(chunks)

    @override
    def loss(self, pair: TrainingPair, context: Tensor) -> Tensor:
        output = self.network(pair.x, pair.t, pair.w, context)
        return mean_error(self.head.error(output, pair.target), pair.mask)

    @override
    def continue_chunk(self, strategy: Strategy, observation: Any, prefix: Prefix, noise: Tensor, steps: int) -> Tensor:
        hooks = strategy.hooks(prefix)
        refuse_guidance(hooks, self.config.family)
        nothing = torch.zeros_like(noise)
        output = self.network(nothing, nothing[:, 0, 0], nothing[..., 0], self.units.encode(observation))
        rounded = self.head.chunk(output).to(OUTPUT_DTYPES[self.config.output_dtype])
        return hooks.finish(rounded.to(noise.dtype))


@dataclass(frozen=True)
class Regression(Objective):
    """The demonstrated chunk itself is the target, from nothing but the observation: ``x = t = w = 0``."""

    @override
    def pair(self, batch: Demonstrated, generator: torch.Generator) -> TrainingPair:
        nothing = torch.zeros_like(batch.actions)
        return TrainingPair(nothing, nothing[:, 0, 0], nothing[..., 0], batch.actions, batch.valid)
