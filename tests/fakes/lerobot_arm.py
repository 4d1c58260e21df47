"""An arm with two cameras as LeRobot's drivers are, which does what a test says."""

import threading
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np


class Mode(Enum):
    DEGREES = "degrees"
    SHARE = "range_m100_100"
    OPENING = "range_0_100"


class Camera:
    """Shows a new picture when the test says so; a read waits for one."""

    def __init__(self) -> None:
        self.shown, self.new, self.broken = 0, threading.Event(), False
        self.new.set()

    def async_read(self) -> np.ndarray:
        if not self.new.wait(0.05):
            raise TimeoutError("no frame")
        if self.broken:
            raise OSError("unplugged")
        self.new.clear()
        self.shown += 1
        return np.full((4, 6, 3), self.shown, np.uint8)


class Arm:
    """Two joints and a gripper; goes to where it is sent."""

    name = "arm"

    def __init__(self, names: tuple[str, ...] = ("pan", "lift", "gripper"), modes: Any = None) -> None:
        modes = modes or (Mode.DEGREES, Mode.SHARE, Mode.OPENING)
        self.bus = SimpleNamespace(motors={
            name: SimpleNamespace(norm_mode=mode) for name, mode in zip(names, modes, strict=False)
        })  # fmt: skip
        self.at = {f"{name}.pos": 10.0 * (i + 1) for i, name in enumerate(names)}
        self.cameras: dict[str, Any] = {"front": Camera(), "wrist": Camera()}
        self.calls: list[str] = []
        self.sent: list[dict[str, float]] = []

    @property
    def observation_features(self) -> dict[str, Any]:
        return {**dict.fromkeys(self.at, float), "pan.current": float, "front": (4, 6, 3), "wrist": (4, 6, 3)}

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(self.at, float)

    def connect(self) -> None:
        self.calls.append("connect")

    def disconnect(self) -> None:
        assert self.cameras, "cameras are given back before they are closed"
        self.calls.append("disconnect")

    def get_observation(self) -> dict[str, Any]:
        return {**self.at, "pan.current": 0.1, **{name: each.async_read() for name, each in self.cameras.items()}}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.sent.append(action)
        self.at.update(action)
        return action


class Base(Arm):
    """A mobile base with one joint: velocities beside a position, and no cameras."""

    def __init__(self) -> None:
        super().__init__(("lift",), (Mode.SHARE,))
        self.at = {"lift.pos": 10.0, "x.vel": 0.3}
        self.cameras = {}

    @property
    def observation_features(self) -> dict[str, Any]:
        return dict.fromkeys(self.at, float)

    def disconnect(self) -> None:
        self.calls.append("disconnect")
