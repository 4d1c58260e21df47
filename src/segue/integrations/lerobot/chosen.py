"""LeRobot's robots and policies by what a user says of them: the words behind ``lerobot:``.

    segue run --robot lerobot:so101_follower --robot.port=/dev/ttyACM0 --robot.cameras='{front: {...}}'
                              '- --robot.type       '- LeRobot's own spelling, read by LeRobot's own parser
              --policy lerobot:outputs/act/checkpoints/last/pretrained_model

Four words are ours and not LeRobot's: ``fps``, ``task``, ``ranges`` and ``picture_age``.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from contextlib import suppress
from math import inf, nan
from pathlib import Path
from typing import Any

from segue.core import foreign
from segue.core.chunk import ChunkPolicy
from segue.errors import CheckpointError, SpecError
from segue.integrations.lerobot.robot import PICTURE_AGE, LeRobotRobot
from segue.plan.plan import Handover

FPS = 30.0
"""Control steps per second where nothing else is said, as `lerobot-rollout` has it."""
DEFAULT = "predictive"
"""Method of `segue run` where none is said: a policy of LeRobot is continued by identity RTC then, or cross-faded."""
WITHOUT_VELOCITY = ("act", "diffusion")
"""LeRobot's types of policies that answer finished chunks; named here, where torch is not loaded."""


def robot(kind: str, options: Mapping[str, str]) -> LeRobotRobot:
    """A robot of LeRobot, connected.

    Args:
        kind: ``--robot.type``.
        options: LeRobot's ``--robot.NAME`` by their names, and ours: ``fps``, ``task`` (a sentence for policies that
            are told), ``ranges`` (``elbow.pos=-90:90,...``) and ``picture_age`` [s].

    Raises:
        SpecError: LeRobot is not installed here, does not know the type or an option, or a number is none.
        RobotError: A camera shows nothing.
    """
    theirs = {name: value for name, value in options.items() if name not in ("fps", "task", "ranges", "picture_age")}
    made = LeRobotRobot(
        _made(kind, theirs),
        dt=1 / _number("fps", options.get("fps", FPS)),
        ranges=ranges_of(options.get("ranges", "")),
        prompt=options.get("task", ""),
        picture_age=_number("picture_age", options.get("picture_age", PICTURE_AGE)),
    )
    made.connect()
    return made


def ranges_of(text: str) -> dict[str, tuple[float, float]]:
    """Lowest and highest command by name, of ``elbow.pos=-90:90,gripper.pos=0:50``.

    Raises:
        SpecError: It is written otherwise.
    """
    found = {}
    for word in filter(None, text.split(",")):
        name, _, values = word.partition("=")
        try:
            low, high = map(float, values.split(":"))
        except ValueError as error:
            raise SpecError(f"ranges {word!r}", "NAME=LOW:HIGH, separated by commas", "correct it") from error
        found[name.strip()] = (low, high)
    return found


def method_for(folder: Path, method: str) -> str:
    """The method under which a checkpoint of LeRobot runs; `DEFAULT` is for policies of ours, its settings for any.

    Raises:
        CheckpointError: Its ``config.json`` is damaged; where there is none, what loads the checkpoint says so.
    """
    name, colon, settings = method.partition(":")
    config = folder / "config.json"
    if name == DEFAULT and config.is_file():
        said = foreign.read_json(config, CheckpointError)
        name = "cross-fade" if isinstance(said, dict) and said.get("type") in WITHOUT_VELOCITY else "rtc-identity"
    return f"{name}{colon}{settings}"


def policy(
    folder: str,
    method: str,
    *,
    dt: float,
    observation_names: list[str],
    action_names: list[str],
    action_kinds: list[str],
    seed: int = 0,
    device: str = "cpu",
    threads: int = 1,
) -> tuple[ChunkPolicy, Handover]:
    """A checkpoint of LeRobot under a method, for `segue.methods.policy_process.imported`.

    Args:
        folder: Its ``pretrained_model``.
        method: See `segue.methods.methods.method`.
        dt: Control period of the robot [s]; a checkpoint of LeRobot does not say its own.
        observation_names: Of the robot.
        action_names: Of the robot; a checkpoint that names its actions is compared with them.
        action_kinds: Of the robot.
        seed: Of the noise.
        device: As torch names it.
        threads: Of torch.

    Raises:
        SpecError: LeRobot is not installed here, or the method wants what a policy of LeRobot does not have.
        CheckpointError: No checkpoint of LeRobot.
    """
    _lerobot("lerobot.policies", "--policy lerobot:")
    import torch

    from segue.core.dimensions import Dimensions
    from segue.integrations.lerobot.commanded import commanded_state
    from segue.integrations.lerobot.policies.checkpoint import check_method, load
    from segue.methods.methods import method as method_of

    torch.set_num_threads(threads)
    found = load(Path(folder), dt=dt, device=device, observation_names=tuple(observation_names))
    said = getattr(found.theirs.config, "action_feature_names", None) or action_names
    named = found.units.cameras
    found.units.cameras = {key: key for key in named.values()}  # as the robot names its pictures
    found.spec = dataclasses.replace(
        found.spec, action_names=tuple(said), action_kinds=Dimensions.of(*action_kinds),
        cameras={named[name]: size for name, size in found.spec.cameras.items()},
    )  # fmt: skip
    chosen = method_of(method_for(Path(folder), method))
    predictor = commanded_state(observation_names, said) if chosen.predictor == "commanded" else None
    check_method(folder, chosen if predictor is None else dataclasses.replace(chosen, predictor="none"))
    return chosen.bound(found, None, predictor, seed=seed), chosen.handover


def _lerobot(module: str, what: str) -> Any:
    """A module of LeRobot."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SpecError(
            got=f"{what} where LeRobot cannot be imported ({error})",
            expected="the Python that LeRobot is installed in, with what this robot needs (lerobot[feetech], ...)",
            change="install segue beside LeRobot and run it there, see docs/lerobot.md",
        ) from error


def _made(kind: str, options: Mapping[str, str]) -> Any:
    """A robot that LeRobot's own parser and factory make."""
    what = f"--robot lerobot:{kind}"
    robots, cameras = _lerobot("lerobot.robots", what), _lerobot("lerobot.cameras", what)
    _lerobot("lerobot.utils.import_utils", what).register_third_party_plugins()
    for package in (robots, cameras):  # importing is what registers a type
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            with suppress(ImportError):
                importlib.import_module(each.name)
    known = sorted(robots.RobotConfig.get_known_choices())
    if kind not in known:
        raise SpecError(f"robot type {kind!r}", f"one of LeRobot's: {', '.join(known)}", "correct it")
    words = [f"--robot.type={kind}", *(f"--robot.{name}={value}" for name, value in options.items())]
    chosen = dataclasses.make_dataclass("Chosen", [("robot", robots.RobotConfig)])
    try:
        config = _lerobot("draccus", what).parse(config_class=chosen, args=words).robot
    except (Exception, SystemExit) as error:
        raise SpecError(
            got=f"options {' '.join(words[1:]) or 'none'} ({error})",
            expected=f"what LeRobot's {kind} takes, as in lerobot-rollout --robot.type={kind}",
            change="correct them; --robot.port and --robot.id are what most arms need",
        ) from error
    try:
        return _lerobot("lerobot.robots", what).make_robot_from_config(config)
    except ImportError as error:
        raise SpecError(
            f"LeRobot's {kind}, which needs more ({error})",
            "its extra",
            "pip install 'lerobot[feetech]', or as it says",
        ) from error


def _number(name: str, text: str | float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not 0 < value < inf:
        raise SpecError(f"{name}={text}", "a positive number", f"give --robot.{name}=30 or the like")
    return value
