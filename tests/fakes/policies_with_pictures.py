"""Policies of every kind that look at pictures, what they are shown, and what they make of it."""

from typing import Any

import numpy as np
import torch

from fakes import point_mass_with_pictures as sighted
from segue.core.chunk import Array
from segue.core.observation import Encoded, Observation, stacked
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder
from segue.policies.families import config_for, policy_for
from segue.policies.observation import on_device
from segue.policies.policy import Policy
from segue.training.predictor import PredictorTraining

CPU = torch.device("cpu")
HORIZON, FEATURES = 8, 8  # four keypoints have two coordinates each
KINDS = ("flow", "diffusion", "regression", "latent")
FEW = PredictorTraining(updates=3, batch=8, checkpoint_every=2)


def made(kind: str = "flow", seed: int = 0) -> Policy:
    """An untrained policy of relative actions (absolute ones in latent space), every weight at work."""
    torch.manual_seed(seed)
    episodes = sighted.demonstrations()
    codec = None
    if kind == "latent":
        codec = ChunkAutoencoder.for_episodes(AutoencoderConfig(HORIZON, episodes.action_names, 2), episodes)
    small = {"network": "mlp", "network_settings": {"width": 16}, "vision": sighted.SMALL}
    family = "flow" if kind == "latent" else kind
    config = config_for(family, episodes, horizon=HORIZON, relative=codec is None, autoencoder=codec, **small)
    policy = policy_for(config, episodes, codec)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    return policy.eval()


def view(n: int = 0) -> Observation[Any]:
    """What one robot sees: a square somewhere."""
    rng = np.random.default_rng(n)
    return Observation(
        rng.uniform(-1, 1, 2).astype(np.float32), {sighted.CAMERA: sighted.picture(rng.uniform(-0.6, 0.6, 2))}
    )


def views(count: int) -> Observation[Any]:
    seen = stacked([view(n) for n in range(count)])
    assert isinstance(seen, Observation)
    return seen


def context_of(policy: Policy, seen: Any) -> Encoded[Array]:
    observation = on_device(seen, CPU)
    with torch.no_grad():
        return Encoded(policy.units.encode(observation).numpy(), observation.state.numpy())
