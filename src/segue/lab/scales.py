"""What a task's demonstrations set as the scale of every measure: spread, speed, and their own measures."""

import numpy as np

from segue.core.metrics import METRICS, commanded_path, hesitation, mean_of_defined, path_metrics, spread
from segue.core.robot import RobotSpec
from segue.core.smoothness import Array, jerk, scale_of_motion, speed
from segue.data.episodes import Episodes


def action_scale(episodes: Episodes) -> Array:
    """Standard deviation of the demonstrations' actions, robot units, see `scale_of_motion`. Shape (action,)."""
    return scale_of_motion(episodes.action_kinds.about_mean(episodes.action), episodes.ends)


def observation_scale(episodes: Episodes) -> Array:
    """Standard deviation of the demonstrations' observed states, robot units. Shape (observation,)."""
    return spread(episodes.observation, episodes.observation_kinds)


def _poses(episodes: Episodes, spec: RobotSpec) -> list[Array] | None:
    """The measured pose in each demonstration, or None when they do not observe all of it."""
    names = [name.split(" [")[0] for name in spec.pose_names]  # without the unit
    if not set(names) <= set(episodes.observation_names):
        return None
    columns = [episodes.observation_names.index(name) for name in names]
    poses = np.split(episodes.observation[:, columns].astype(np.float64), episodes.ends[:-1])
    return [spec.pose_kinds.continuous(each) for each in poses]


def cruise_speed(episodes: Episodes, spec: RobotSpec) -> float:
    """Median measured speed of the demonstrations [pose unit / s].

    The pose is read from the observations of the same names (``spec.pose_names`` without their units); commands
    would not do, for they are in units of their own. NaN when the pose is not among the observations.
    """
    poses = _poses(episodes, spec)
    speeds = np.concatenate([speed(pose, episodes.dt) for pose in poses]) if poses else np.zeros(0)
    return float(np.median(speeds)) if speeds.size else float("nan")


def demonstration_metrics(episodes: Episodes, spec: RobotSpec) -> dict[str, float]:
    """How smooth the demonstrations themselves are: the measures of `METRICS` that need no policy.

    ``nsparc``, ``nldlj``, ``jerk_command_step`` and ``jerk_command`` of the commands, clipped to the robot's limits
    as in a rollout, and ``jerk_measured`` and ``hesitation`` of the pose; means over episodes, NaN where undefined.
    """
    scale, dt = action_scale(episodes), episodes.dt
    turned = spec.kinds.wrapped(episodes.action, spec.action_low)
    clipped = np.clip(turned, spec.action_low, spec.action_high)
    paths = [commanded_path(commands, scale, spec) for commands in np.split(clipped, episodes.ends[:-1])]
    smoothness = [path_metrics(path, dt) for path in paths]
    poses, cruise = _poses(episodes, spec) or [], cruise_speed(episodes, spec)
    values = {name: mean_of_defined([each[name] for each in smoothness]) for name in smoothness[0]}
    values["jerk_measured"] = mean_of_defined([mean_of_defined(jerk(pose, dt)) for pose in poses])
    values["hesitation"] = mean_of_defined([hesitation(pose, dt, cruise) for pose in poses])
    return {name: values[name] for name in METRICS if name in values}
