r"""Training of predictors, and how far off they are on episodes that they have not seen.

episodes -+- every k-th ------> held out: error per dimension 4, 8, 12 steps ahead, and the bound of what is usual
          +- the others ------> unrolled over 1 to 12 steps -> distance over one step's change -> averaged weights
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from segue.core.dimensions import Dimensions
from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import CheckpointError, DataError
from segue.policies.normalizer import Normalizer
from segue.policies.predictors.state import StatePredictor, StatePredictorConfig
from segue.policies.processor import anchors_of
from segue.training import checkpoint
from segue.training.autoencoder import held_out
from segue.training.bounded import built, check_described, refusing
from segue.training.config import KeptSchedule
from segue.training.fit import Run, averaged, fit, generator_of, training_device

FORMAT = "segue/predictor/1"
RIDGE = 1e-4  # of the variance of a normalised input
MISSED = 0.25
"""Where linear regression misses more of the deviation of one step's change, the network has all to learn."""
FLOOR = 1e-4  # of standard deviations, so that a dimension that never moves stays finite
REPORTED = (4, 8, 12)
"""Steps ahead for which a checkpoint says the error on held-out episodes."""
COST = 0.21
"""Time of an update over that of an update of a policy, on the bundled tasks' networks."""
USUAL = 0.99
"""Share of the held-out predictions that lie within the bound of what is usual."""


@dataclass(frozen=True, kw_only=True)
class PredictorTraining(KeptSchedule):
    """Settings of a predictor's training, on batches of frames; plain JSON.

    Attributes:
        most_steps: Longest prediction in training [control steps].
        held_out_every: k: episodes k, 2k, ... are held out; they never train.
    """

    updates: int = 1400
    batch: int = 128
    most_steps: int = 12
    learning_rate: float = 8e-3
    weight_decay: float = 1e-4
    ema: float = 0.99
    held_out_every: int = 5
    checkpoint_every: int = 500

    least: ClassVar = {"updates": 1, "batch": 1, "most_steps": 1, "checkpoint_every": 1, "held_out_every": 2}

    @property
    def cost(self) -> int:
        """Updates of a policy of this library's size that take as long, in hundreds."""
        return 100 * max(round(COST * self.updates / 100), 1)


@dataclass(frozen=True, eq=False)
class PredictionError:
    """Held-out error of a predictor, beside that of assuming that nothing changes.

    Attributes:
        names: One per observation dimension.
        steps: How far ahead [control steps].
        predicted: Mean absolute error, each dimension in its own unit. Shape (steps, observation).
        unchanged: The same of the observation as it was. Shape (steps, observation).
        spread: Standard deviation of the observations, 0 of those that are not predicted. Shape (observation,).
    """

    names: tuple[str, ...]
    steps: tuple[int, ...]
    predicted: NDArray[np.float64]
    unchanged: NDArray[np.float64]
    spread: NDArray[np.float64]

    def relative(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over dimensions of an error over spread; dimensions that do not move are left out. Shape (steps,)."""
        moves = self.spread > FLOOR
        return (error[:, moves] / self.spread[moves]).mean(1) if moves.any() else np.zeros(len(self.steps))


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of episodes, and how many of their episode come after each."""

    state: Tensor
    action: Tensor
    left: Tensor

    @classmethod
    def of(cls, episodes: Episodes, device: torch.device) -> "Frames":
        """All frames of some episodes."""
        left = Windows(episodes, 1).remaining
        tensors = (torch.as_tensor(each, device=device) for each in (episodes.observation, episodes.action, left))
        return cls(*tensors)


def predictor_for(episodes: Episodes, *, width: int = 256, most_steps: int = 12) -> StatePredictor:
    """Predictor with fresh weights (from torch's global generator), its units fitted to the demonstrations.

    Raises:
        DataError: No episode has a second frame.
    """
    goes_on = np.flatnonzero(Windows(episodes, 1).remaining)
    seen, done = episodes.observation_kinds, episodes.action_kinds
    observation = seen.about_mean(episodes.observation)
    changes = seen.difference(episodes.observation[goes_on + 1].astype(np.float64), observation[goes_on])
    if len(changes) == 0:
        raise DataError(
            got="episodes of one frame", expected="at least one that goes on", change="record whole episodes"
        )
    config = StatePredictorConfig(
        tuple(episodes.observation_names), tuple(episodes.action_names), episodes.dt, width, seen.words, done.words,
        () if done.plain else tuple(episodes.state_of_action),
    )  # fmt: skip
    predictor = StatePredictor(
        config,
        Normalizer.fit(observation, FLOOR),
        Normalizer.fit(_unwound(episodes, done), FLOOR),
        torch.as_tensor(changes.std(0).clip(1e-6), dtype=torch.float32),
        most_steps,
    )
    state, action = (torch.as_tensor(each[goes_on]) for each in (episodes.observation, episodes.action))
    _fit_linear(predictor, state, action, changes)
    return predictor


def _unwound(episodes: Episodes, kinds: Dimensions) -> NDArray[np.float32]:
    """Actions as the predictor takes them, the first of each frame: near the state that they are about, or the mean."""
    state = torch.as_tensor(episodes.observation_kinds.about_mean(episodes.observation))
    start = anchors_of(torch.as_tensor(kinds.mean(episodes.action)), state, episodes.state_of_action)
    return kinds.near(episodes.action, start.numpy())


@torch.no_grad()
def _fit_linear(predictor: StatePredictor, state: Tensor, action: Tensor, changes: NDArray[np.float64]) -> None:
    """Set the linear part to the ridge regression of one step's change, in the dimensions where that says most of it.

    Args:
        predictor: With units.
        state: Shape (frames, observation), robot units.
        action: Shape (frames, action), what was done then.
        changes: Shape (frames, observation), what came of it.
    """
    state, actions = predictor.unwound(state, action[:, None])
    action, ones = actions[:, 0], torch.ones(len(state), 1, dtype=torch.double)
    inputs = torch.cat([predictor.observation(state).double(), predictor.action(action).double(), ones], dim=1)
    wanted = torch.as_tensor(changes) / predictor.change.double()
    ridge = RIDGE * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.double)
    ridge[-1, -1] = 0  # nothing holds the mean change back
    weights = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ wanted)
    missed = (wanted - inputs @ weights).square().mean(0).sqrt()
    weights = torch.where(missed < MISSED, weights, 0).float()
    predictor.linear.weight.copy_(weights[:-1].T)
    predictor.linear.bias.copy_(weights[-1])


def distance(predictor: StatePredictor, frames: Frames, index: Tensor, steps: int) -> Tensor:
    """Distance to what was observed, in units of one step's change over the root of the steps, mean over all. Scalar.

    A random walk moves away with that root, so that near and far predictions count alike.
    """
    total, ahead = torch.zeros((), device=index.device), torch.arange(steps, device=index.device)
    executed = frames.action[index[:, None] + torch.minimum(frames.left[index][:, None], ahead)]
    for j, state in enumerate(predictor.steps(frames.state[index], executed)):
        there = (frames.left[index] > j).to(state.dtype)
        wanted = frames.state[(index + j + 1).clamp(max=len(frames.state) - 1)]
        error = predictor.apart(state, wanted, predictor.change) / (j + 1) ** 0.5
        total = total + (error * there).sum() / there.sum().clamp(min=1)
    return total / steps


def train_predictor(
    episodes: Episodes,
    training: PredictorTraining | None = None,
    *,
    run: Path,
    width: int = 256,
    task: str = "",
    resume: bool = False,
    console: Console | None = None,
) -> StatePredictor:
    """Train a predictor on all but every k-th episode; returns it with averaged weights.

    ``episodes`` are those that the policy learns from, ``width`` counts the hidden units per layer; the other arguments
    are as in `train_autoencoder`.

    Raises:
        CheckpointError: The run to resume was started with other settings or on other demonstrations.
        DataError: There is only one episode, or none with a second frame.
        TrainingError: The loss is not finite.
    """
    kept = Run(run, "predictor", {"task": task}, FORMAT, resume, console)
    return learn(episodes, training or PredictorTraining(), width, kept)


def learn(episodes: Episodes, training: PredictorTraining, width: int, run: Run) -> StatePredictor:
    """Train on episodes of any numbers that actions change, in the place of the observations; see `train_predictor`."""
    device = training_device()
    learned, unseen = held_out(episodes, training.held_out_every)
    torch.manual_seed(training.seed)
    predictor = predictor_for(learned, width=width, most_steps=training.most_steps).to(device)
    average, frames = averaged(predictor), Frames.of(learned, device)
    goes_on = torch.nonzero(frames.left > 0).flatten()

    def batch_of(update: int, process: int, size: int) -> tuple[Frames, Tensor, int]:
        generator = generator_of(training.seed, update, process, purpose=3)
        index = goes_on[torch.randint(0, len(goes_on), (size,), generator=generator).to(device)]
        steps = int(torch.randint(1, training.most_steps + 1, (), generator=generator))
        return frames, index, min(steps, 4) if update < training.updates // 3 else steps

    def measured() -> dict[str, Any]:
        _measure(average, Frames.of(unseen, device))
        return {"held_out_error": _json(prediction_error(average, unseen))}

    def adopt(saved: checkpoint.Checkpoint) -> None:
        _check_layout(saved)
        if saved.weights["bounds"].shape == predictor.bounds.shape:  # else other settings, which is said by the loop
            predictor.bounds.copy_(saved.weights["bounds"])  # measured, and no part of the demonstrations

    weights = predictor.parameters()  # checkpoints of any age number the moments with the frozen weights in front
    said = {"predictor": described(predictor.config), "training": training}
    fit(
        predictor, average, batch_of, distance, training, run,
        described=said, weights=weights, clip=1.0, measured=measured, adopt=adopt,
    )  # fmt: skip
    return average


@torch.no_grad()
def _rolled(predictor: StatePredictor, frames: Frames, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """States now, predicted and observed ``steps`` later, of all frames whose episode goes on for so long."""
    index = torch.nonzero(frames.left >= steps).flatten()
    actions = frames.action[index[:, None] + torch.arange(steps, device=index.device)]
    now = frames.state[index]
    return now, predictor(now, actions, torch.full_like(index, steps)), frames.state[index + steps]


def _measure(predictor: StatePredictor, unseen: Frames) -> None:
    """Set the bounds of what is usual to what held-out predictions rarely exceed.

    Farther ahead than any held-out episode goes on, the bound is that of the farthest.
    """
    bound = torch.tensor(torch.inf)
    for steps in range(1, len(predictor.bounds) + 1):
        _, predicted, observed = _rolled(predictor, unseen, steps)
        if len(observed):
            bound = torch.quantile(predictor.error(predicted, observed), USUAL)
        predictor.bounds[steps - 1] = bound


def prediction_error(
    predictor: StatePredictor, episodes: Episodes, steps: tuple[int, ...] = REPORTED
) -> PredictionError:
    """Error on episodes, per dimension in its unit; NaN where no episode goes on for so long."""
    frames = Frames.of(episodes, predictor.device)
    predicted, unchanged = [], []
    for count in steps:
        now, guess, seen = _rolled(predictor, frames, count)
        for errors, state in ((predicted, guess), (unchanged, now)):
            errors.append(predictor.kinds.difference(state, seen).abs().double().mean(0).cpu().numpy())
    spread = predictor.kinds.about_mean(episodes.observation).std(0, dtype=np.float64)
    spread[list(predictor.kinds.steps)] = 0
    return PredictionError(tuple(episodes.observation_names), steps, np.array(predicted), np.array(unchanged), spread)


def described(config: StatePredictorConfig) -> dict[str, Any]:
    """Plain JSON of a configuration; kinds only where there are any, as in checkpoints of before there were."""
    kinds = ("observation_kinds", "action_kinds", "state_of_action")
    return {name: value for name, value in asdict(config).items() if value or name not in kinds}


def _json(error: PredictionError) -> dict[str, Any]:
    # JSON has no NaN, which stands where no episode goes on for so long
    predicted, unchanged = (
        np.where(np.isnan(each), np.array(None), each).tolist() for each in (error.predicted, error.unchanged)
    )
    return {"steps": list(error.steps), "predicted": predicted, "unchanged": unchanged, "spread": error.spread.tolist()}


def load_predictor(path: Path | str) -> tuple[StatePredictor, PredictionError]:
    """A predictor with its averaged weights, and its error on the held-out episodes.

    Raises:
        CheckpointError: Nothing there, truncated, or not a predictor.
    """
    return predictor_in(checkpoint.load(path, FORMAT))


def predictor_in(saved: checkpoint.Checkpoint) -> tuple[StatePredictor, PredictionError]:
    """The predictor of a checkpoint that `learn` wrote, and its error.

    Raises:
        CheckpointError: The weights do not fit the configuration.
    """
    _check_layout(saved)
    with refusing(saved.path, *checkpoint.FITTING):
        check_described(saved.info["predictor"])
        predictor = _blank(saved.info["predictor"], saved.weights)
        error = saved.info["held_out_error"]
        columns = [np.array(error[name], np.float64) for name in ("predicted", "unchanged", "spread")]
        return predictor, PredictionError(predictor.config.observation_names, tuple(error["steps"]), *columns)


def _check_layout(saved: checkpoint.Checkpoint) -> None:
    """Raise `CheckpointError` for a predictor of before the linear model, whose configuration looks like one of now."""
    if "first.weight" not in saved.weights:
        raise CheckpointError(
            got=f"{saved.path}: a predictor whose network has the layout of an earlier version of Segue",
            expected="a linear model and a network beside it",
            change="learn it again with `segue train-predictor` (--fresh in the same folder); it takes a minute",
        )


def _blank(fields: Mapping[str, Any], weights: Mapping[str, Tensor]) -> StatePredictor:
    fields = {name: tuple(each) if isinstance(each, list) else each for name, each in fields.items()}
    config = StatePredictorConfig(**fields)
    seen, acted = len(config.observation_names), len(config.action_names)
    units = Normalizer.identity(seen), Normalizer.identity(acted)
    bounds = len(weights["bounds"])
    predictor = built(lambda: StatePredictor(config, *units, torch.ones(seen), bounds), weights)
    return predictor.eval().requires_grad_(False)
