"""The trace of a rollout of LeRobot under our plan: what `segue report` and `segue replay` read.

How long chunks are is only known when the first one is there, so that the files are made then, before the robot moves.
LeRobot does not say how far its joints may go: the trace bounds them by what no joint reaches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from typing_extensions import override

from segue.core.dimensions import Dimensions
from segue.core.robot import RobotSpec
from segue.errors import DataError
from segue.integrations.lerobot.engine import EngineSettings, unsized
from segue.plan.delay import WindowQuantile
from segue.trace.file import TraceWriter, plan_header
from segue.trace.measures import robot_header
from segue.trace.records import ChunkRecord, TickRecord
from segue.trace.sink import Sink

_FAR, _TICKS = 1e6, 360_000


@dataclass(eq=False, kw_only=True)
class EngineTrace(Sink):
    """Writes a trace once the first chunk is there.

    Attributes:
        path: The folder; it must not exist yet.
        robot: Its name.
        rate: Control steps per second.
        settings: Of the engine.
        names: Of the actions.
        kinds: Of the actions.

    Raises:
        DataError: The folder exists; said before the robot moves.
    """

    path: Path
    robot: str
    rate: float
    settings: EngineSettings
    names: Sequence[str]
    kinds: Dimensions
    _writer: TraceWriter | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.path.exists():
            raise DataError(f"{self.path} exists", "a new folder for each run", "give another name, or remove it")

    @override
    def tick(self, record: TickRecord) -> None:
        if self._writer is not None:
            self._writer.tick(record)

    @override
    def chunk(self, record: ChunkRecord) -> None:
        if self._writer is None and record.actions is not None:
            self._writer = self._made(*record.actions.shape)
        if self._writer is not None:
            self._writer.chunk(record)

    @override
    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _made(self, horizon: int, action: int) -> TraceWriter:
        settings, names = self.settings, tuple(self.names)
        bound = np.full(action, _FAR, np.float32)
        spec = RobotSpec(
            self.robot, 1 / self.rate, names, names, -bound, bound, "position", names, action_kinds=self.kinds
        )
        plan = unsized(WindowQuantile(settings.initial_delay, settings.delay_window, settings.delay_quantile))
        steps = max(horizon // 2, 1) if settings.execution_horizon is None else settings.execution_horizon
        plan.resize(horizon, action, steps)
        header = {"robot": robot_header(spec), "rate": self.rate, "plan": plan_header(plan), "ladder": ["run"],
                  "causes": ["actions"]}  # fmt: skip
        return TraceWriter(self.path, header, action=action, observation=0, horizon=horizon, ticks=_TICKS)
