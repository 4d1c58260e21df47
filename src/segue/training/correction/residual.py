r"""Training of the residual that corrects the actions of a policy, which stays as it is (A2C2, arXiv 2509.23224).

    policy, at frame f  --> its own chunk B_0 .. B_{H-1}
    frame f + k         --> state, and what was demonstrated, A
    network(state at f + k, B_k, k) --> A - B_k                    k uniform in the chunk

The policy's action is k steps old, the state is new: what is learned is what the demonstrator did about all that the
policy could not know. Frames are those of demonstrations, so that corrections far from these are guesses.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import Console
from torch import Tensor, nn
from typing_extensions import override

from segue.core.correction import Residual, phase
from segue.core.spec import PolicySpec
from segue.data.episodes import Episodes
from segue.errors import CheckpointError
from segue.policies.networks.features import zero_linear
from segue.policies.normalizer import Normalizer
from segue.policies.policy import Policy, fingerprint
from segue.training import checkpoint
from segue.training.bounded import built, check_described, refusing
from segue.training.config import KeptSchedule
from segue.training.data import DemonstratedChunks
from segue.training.fit import Run, averaged, fit, generator_of

FORMAT = "segue/correction/1"
CLIP = 5.0
"""Largest norm of the gradient."""


@dataclass(frozen=True, kw_only=True)
class CorrectionTraining(KeptSchedule):
    """Settings of a correction's training; plain JSON. The paper's, but for its length, are in parentheses.

    Attributes:
        refresh: Updates between renewals of the policy's chunks (1).
    """

    updates: int = 4000
    batch: int = 512
    learning_rate: float = 1e-3
    warmup: int = 500
    weight_decay: float = 1e-3
    ema: float = 0.999
    refresh: int = 500
    checkpoint_every: int = 1000

    least: ClassVar[Mapping[str, int]] = {"updates": 1, "batch": 1, "refresh": 1, "checkpoint_every": 1}


class ResidualNetwork(nn.Module):
    """The network of `Residual` while it learns, zero at first; weights are of torch's global generator.

    Args:
        spec: Of the policy.
        width: Units of the first hidden layer; the second has twice as many. The paper's is 256.
        observation: Normalisation of the states.
        action: Normalisation of the actions.
    """

    def __init__(self, spec: PolicySpec, width: int, observation: Normalizer, action: Normalizer) -> None:
        super().__init__()
        seen, acted = len(spec.observation_names), len(spec.action_names)
        self.spec, self.width, self.observation, self.action = spec, width, observation, action
        self.layers = nn.Sequential(
            nn.Linear(seen + acted + 2, width), nn.ReLU(), nn.Linear(width, 2 * width), nn.ReLU(),
            zero_linear(2 * width, acted),
        )  # fmt: skip

    @override
    def forward(self, state: Tensor, action: Tensor, index: Tensor) -> Tensor:
        """What is to be added to actions, in units of their scale. Shape (batch, action)."""
        state = self.spec.observation_kinds.near(state, self.observation.mean)
        near = self.spec.action_kinds.near(action, self.action.mean)
        features = torch.as_tensor(phase(index.cpu().numpy(), self.spec.horizon), device=state.device)
        return self.layers(torch.cat([self.observation(state), self.action(near), features], 1))

    def residual(self) -> Residual:
        """The same in NumPy, as a control loop takes it."""

        def arrays(*tensors: Tensor) -> list[Any]:
            return [each.detach().cpu().numpy().copy() for each in tensors]

        layers = [each for each in self.layers if isinstance(each, nn.Linear)]
        return Residual(
            arrays(*(each.weight.T for each in layers)), arrays(*(each.bias for each in layers)),
            (*arrays(self.observation.mean, self.observation.scale),), (*arrays(self.action.mean, self.action.scale),),
            self.spec.horizon, self.spec.observation_kinds, self.spec.action_kinds,
        )  # fmt: skip


Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def lacking(
    network: ResidualNetwork, state: Tensor, base: Tensor, index: Tensor, wanted: Tensor, there: Tensor
) -> Tensor:
    """Mean squared error of what base actions lack, in units of the actions' scale. Scalar.

    Args:
        network: In training.
        state: Seen when the actions are due, shape (batch, observation).
        base: The policy's actions, shape (batch, action).
        index: Their position in their chunk, shape (batch,).
        wanted: What was demonstrated, shape (batch, action).
        there: Shape (batch,): False beyond the end of the episode.
    """
    kinds = network.spec.action_kinds
    missing = kinds.difference(wanted, base) / network.action.scale
    error = (network(state, base, index) - missing).square()
    moved = [each for each in range(error.shape[1]) if each not in kinds.steps]
    return (error[:, moved].mean(1) * there).sum() / there.sum().clamp(min=1)


def train_correction(
    episodes: Episodes,
    policy: Policy,
    training: CorrectionTraining | None = None,
    *,
    run: Path,
    width: int = 256,
    task: str = "",
    resume: bool = False,
    console: Console | None = None,
) -> Residual:
    """Train a correction for one policy; returns it with averaged weights.

    Args:
        episodes: Demonstrations, the same that the policy has learned from.
        policy: Trained; it stays what it is.
        training: Length and settings.
        run: Folder of the checkpoints; it and the other arguments are as in `train_predictor`.
        width: Units of the first hidden layer.
        task: Noted in the checkpoints.
        resume: See there.
        console: See there.

    Raises:
        CheckpointError: The run to resume was started for another policy, or with other settings.
        TrainingError: The loss is not finite.
    """
    training, chunks = training or CorrectionTraining(), DemonstratedChunks(episodes, policy.eval())
    torch.manual_seed(training.seed)
    states, actions = episodes.observation_kinds, episodes.action_kinds
    units = (
        Normalizer.fit(states.about_mean(episodes.observation)), Normalizer.fit(actions.about_mean(episodes.action))
    )  # fmt: skip
    network = ResidualNetwork(policy.spec, width, *units).to(policy.units.device)
    average, made = averaged(network), -1

    def batch_of(update: int, process: int, size: int) -> Batch:
        nonlocal made
        if made != (turn := update // training.refresh):
            generator = generator_of(training.seed, turn * training.refresh, 0, purpose=1)
            chunks.renew_own(policy, policy.denoising_steps, generator)
            made = turn
        assert chunks.own is not None
        generator = generator_of(training.seed, update, process, purpose=0)
        frame = torch.randint(0, len(chunks), (size,), generator=generator).to(chunks.left.device)
        index = torch.randint(0, policy.spec.horizon, (size,), generator=generator).to(frame.device)
        due = frame + torch.minimum(index, chunks.left[frame])
        there = (index <= chunks.left[frame]).to(chunks.action.dtype)
        return chunks.observation[due], chunks.own[0, frame, index], index, chunks.action[due], there

    said = {"correction": {**policy.spec.said(), "width": width}, "training": asdict(training)}
    described = {**said, "policy": fingerprint(policy)}
    kept = Run(run, "correction", {"task": task}, FORMAT, resume, console)
    fit(network, average, batch_of, lacking, training, kept, described=described, clip=CLIP)
    return average.residual()


def load_correction(path: Path | str, policy: Policy) -> Residual:
    """The correction of a policy with its averaged weights.

    Raises:
        CheckpointError: Nothing there, truncated, no correction, or that of another policy.
    """
    saved = checkpoint.load(path, FORMAT)
    if saved.info.get("policy") != (got := fingerprint(policy)):
        raise CheckpointError(
            got=f"a policy with other weights ({got[:12]}) than the one that {saved.path} belongs to",
            expected="the policy whose actions the correction has learned from",
            change="train the correction for this policy: segue train-correction",
        )
    with refusing(saved.path, *checkpoint.FITTING):
        said = saved.info["correction"]
        check_described(said)
        spec = PolicySpec.of(said)
        units = Normalizer.identity(len(spec.observation_names)), Normalizer.identity(len(spec.action_names))
        return built(lambda: ResidualNetwork(spec, said["width"], *units), saved.weights).residual()
