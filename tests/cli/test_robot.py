"""segue run, from the policy process to the trace, on a point mass; and what a policy process can be told to build."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.console import Console

from fakes import point_mass
from fakes.linked_policies import PATIENCE
from fakes.served_policies import Affine
from fakes.servers import served
from fakes.towards_policy import FAST, HORIZON, SPEC
from segue.cli import driven, robot, robots
from segue.cli.robot import LATENCIES, Motion, plan_for
from segue.cli.run import run_
from segue.core.chunk import Continuation, Past, nothing_to_continue, surprise_of
from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import CheckpointError, DataError, PolicyError, RobotError, SpecError, TimingError, UnknownNameError
from segue.lab.delays import Recorded
from segue.lab.tasks import tasks
from segue.lab.tasks.tasks import Task
from segue.links.client import RemotePolicy
from segue.links.link import Hello
from segue.links.process import ANSWER_TIMEOUT
from segue.links.worker import warm_up
from segue.methods import policy_process
from segue.methods.load import chunk_policy
from segue.methods.methods import METHODS, objective
from segue.plan.plan import Handover
from segue.plan.trigger import QueueThreshold
from segue.runtime.executor import Executor, Tolerance
from segue.runtime.operated import Wish
from segue.trace.file import read
from segue.trace.measures import latencies, robot_spec
from segue.trace.replay import replay
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import train_policy


def task_of(max_steps: int) -> Task:
    return Task(
        "point-mass", "", FAST.dt, max_steps, HORIZON, 3, lambda: point_mass.PointMass(FAST), point_mass.demonstrations
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., int]:
    """segue run for half a second, 25 steps."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(tasks, "task", lambda name: task_of(20))
    monkeypatch.setattr("gc.collect", lambda: 0)  # of all that the tests have loaded takes as long as a run

    def command(task: str | None = "point-mass", speed: float = 1.0, **changes: Any) -> int:
        monkeypatch.setattr(
            policy_process,
            "local",
            lambda *_, **__: policy_process.imported("fakes.towards_policy:towards", speed=speed),
        )
        settings: dict[str, Any] = {"method": "legato", "seconds": 0.5, "seed": 0, "trace": tmp_path / "trace"}
        try:
            with pytest.raises(typer.Exit) as ended:
                run_(task, **{**settings, **changes})
            return ended.value.exit_code
        finally:
            (tmp_path / "said").write_text(capsys.readouterr().out)

    return command


def test_a_run_leaves_a_trace_that_replays_and_latencies_that_an_evaluation_reads(
    run: Callable[..., int], tmp_path: Path
) -> None:
    assert run(seconds=2.0) == 0
    trace = read(tmp_path / "trace")
    assert trace.dropped == (0, 0)
    assert len(trace.ticks) > 0
    replayed = replay(trace)
    assert replayed.difference is None
    assert replayed.ticks == len(trace.ticks)
    seconds = latencies(trace)
    assert np.loadtxt(tmp_path / LATENCIES, ndmin=1) == pytest.approx(seconds, abs=1e-6)
    if len(seconds):  # a machine may be so busy that there is none
        assert len(Recorded.from_file(tmp_path / LATENCIES, FAST.dt).steps) == len(seconds)
    said = (tmp_path / "said").read_text()
    assert "time is up" in said
    assert "latencies.txt" in said


def test_episodes_end_when_they_are_solved_or_too_long(run: Callable[..., int], tmp_path: Path) -> None:
    """A policy that does not move solves none: each episode is as long as allowed, on the next seed."""
    assert run(speed=0.0, seconds=1.5) == 0
    trace = read(tmp_path / "trace")
    lengths = np.unique(trace.ticks["epoch"], return_counts=True)[1]
    assert set(lengths[:-1]) <= {20}
    assert " 0 of " in (tmp_path / "said").read_text()
    for seed, epoch in enumerate(np.unique(trace.ticks["epoch"])):
        mass = point_mass.PointMass(FAST)
        mass.reset(seed)
        assert np.array_equal(trace.ticks[trace.ticks["epoch"] == epoch][0]["observation"], mass.observe())


class View:
    """Counts."""

    ticks = chunks = closed = 0

    def tick(self, *_: Any, **__: Any) -> None:
        self.ticks += 1

    def chunk(self, *_: Any, **__: Any) -> None:
        self.chunks += 1

    def close(self) -> None:
        self.closed += 1


def test_a_run_can_be_looked_at(run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = View()
    monkeypatch.setattr(robot, "RerunSink", lambda names, states: view)
    assert run(view=True) == 0
    trace = read(tmp_path / "trace")
    assert (view.ticks, view.chunks, view.closed) == (len(trace.ticks), len(trace.chunks), 1)


def test_limits_are_kept(run: Callable[..., int], tmp_path: Path) -> None:
    assert run(seconds=1.0, velocity=0.5, acceleration=20.0, jerk=2000.0) == 0
    trace = read(tmp_path / "trace")
    for epoch in np.unique(trace.ticks["epoch"]):
        commands = trace.ticks[trace.ticks["epoch"] == epoch]["action"]
        assert np.abs(np.diff(commands, axis=0)).max(initial=0) <= 0.5 * FAST.dt * (1 + 1e-9)


def test_limits_that_are_none_are_refused_before_a_trace_is_made(run: Callable[..., int], tmp_path: Path) -> None:
    """What was left behind would be in the way of the next try."""
    with pytest.raises(SpecError, match="velocity limit 0"):
        run(velocity=0.0)
    assert not (tmp_path / "trace").exists()


def test_fault_21_a_signal_ends_a_run_with_its_number(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episodes = robot._episodes

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return episodes(*arguments)

    monkeypatch.setattr(robot, "_episodes", interrupted)
    assert run(seconds=PATIENCE) == 128 + signal.SIGTERM
    assert "stopped by the operator" in (tmp_path / "said").read_text()
    assert len(read(tmp_path / "trace").ticks) == 1


def test_another_rate_is_that_of_the_measures(run: Callable[..., int], tmp_path: Path) -> None:
    """What is counted per second is counted in the seconds that have passed, not in those of the task."""
    assert run(rate=20.0) == 0
    assert robot_spec(read(tmp_path / "trace")).dt == pytest.approx(0.05)


def test_fault_24_a_full_disk_hides_neither_ending_nor_trace(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robot, "latencies", lambda trace: np.ones(10_000))
    (tmp_path / f".{LATENCIES}.part").symlink_to("/dev/full")

    def full(*_: object) -> None:  # where the trace is cut to what was used
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert run() == 0
    said = (tmp_path / "said").read_text()
    assert said.index("time is up") < said.index("latencies: not written")
    assert said.count("No space left on device") == 1
    assert len(read(tmp_path / "trace").ticks) > 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["said", "trace"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(1), DataError("a", "b", "c")])
def test_fault_24_what_cannot_be_said_changes_no_ending(
    error: BaseException, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output is a full disk or a pipe that nobody reads any more, or the trace cannot be read."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(robot, "_summary", fail)
    if isinstance(error, DataError):
        with pytest.raises(DataError):
            run(seconds=0.1)
    else:
        assert run(seconds=0.1) == 0


def test_fault_24_a_fault_is_said_where_a_run_cannot_be_summed_up(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any) -> None:
        raise SystemExit(1)  # as rich does where a pipe is closed

    monkeypatch.setattr(robot, "Executor", partial(Executor, tolerance=Tolerance(hold=0.2)))
    monkeypatch.setattr(robot, "_summary", closed)
    with pytest.raises(RobotError, match=r"no actions for 0\.2 s"):
        run(speed=1e300, seconds=PATIENCE)


class Own:
    """A point mass that is no simulator."""

    def __init__(self) -> None:
        mass, self.stopped = point_mass.PointMass(FAST), 0
        self.spec, self.observe, self.send, self.hold = mass.spec, mass.observe, mass.send, mass.hold
        self.start = mass.target.astype(np.float64)

    def rest(self) -> np.ndarray:
        return self.start

    def stop(self) -> None:
        self.stopped += 1


def test_a_robot_of_ones_own_is_driven_as_a_simulator_is(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, file = Own(), tmp_path / "arm.toml"
    file.write_text('[joints."target x"]\nvelocity = 0.5\nacceleration = 20\njerk = 2000\n')
    monkeypatch.setitem(robots.PREFIXES, "mine", lambda rest, options: own)
    assert run("runs/x", robot="mine:left", limits=file, seconds=2.0) == 0
    trace = read(tmp_path / "trace")
    assert replay(trace).difference is None
    assert len(np.unique(trace.ticks["epoch"])) == 1  # it is never reset
    assert trace.ticks["action"][0] == pytest.approx(own.start, abs=0.5 * FAST.dt)
    assert np.abs(np.diff(trace.ticks["action"][:, 0])).max() <= 0.5 * FAST.dt * (1 + 1e-9)
    assert own.stopped >= 2  # at the end of the run, and when it is let go of
    said = (tmp_path / "said").read_text()
    assert "no limit of velocity for target y" in said
    assert "episodes solved" not in said
    assert "segue eval" not in said


def test_a_robot_of_ones_own_is_stopped_where_its_run_does_not_begin(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Own()
    own.spec = replace(FAST, action_names=("x", "y"))
    monkeypatch.setitem(robots.PREFIXES, "mine", lambda rest, options: own)
    with pytest.raises(SpecError, match="run the policy of this robot"):
        run("runs/x", robot="mine:left")
    assert own.stopped
    with pytest.raises(SpecError, match="a robot without a policy"):
        run(None, robot="mine:left")


def test_an_operator_ends_a_run_before_its_time(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driven, "made", lambda name: [Wish.STOP])
    assert run(seconds=PATIENCE, operator="pedal:wishes") == 0
    assert "stopped by the operator" in (tmp_path / "said").read_text()


def hello() -> Hello:
    return Hello(SPEC, Handover.CONTINUE, 0.05)


def test_a_plan_starts_from_the_measured_inference() -> None:
    plan = plan_for(hello(), 0.02, 3, 0.5, "queue:5")
    assert (plan.delay.estimate(), plan.execution_horizon, plan.trigger) == (3, 3, QueueThreshold(5))
    assert plan.delay.quantile == 0.5
    assert plan_for(hello(), 0.0125, 3, 1.0, "fixed").execution_horizon == 4
    with pytest.raises(TimingError):
        plan_for(hello(), 0.01, 3, 1.0, "fixed")
    waits = replace(hello(), handover=Handover.WAIT)
    assert plan_for(waits, 0.01, 3, 1.0, "fixed").delay.estimate() == 0


def test_displacements_have_limits_as_displacements_and_grippers_as_positions() -> None:
    spec = replace(FAST, action_names=("dx", "pinch"), action_kinds=Dimensions.of("displacement", "gripper"))
    assert Motion().limits(spec).kinds.moves == (0,)
    assert Motion().limits(replace(FAST, command="velocity")).kinds.moves == (0, 1)
    assert Motion().limits(FAST).kinds == LINEAR
    assert set(Motion().limits(FAST).jerk) == {inf}


def test_a_run_folder_and_a_server_are_one_too_many() -> None:
    with pytest.raises(SpecError, match="server"):
        robot.source_of(Path("run"), "legato", "ws://127.0.0.1:1", 0, "cpu", "push-t")
    assert robot.source_of(None, "legato", "ws://127.0.0.1:1", 0, "cpu", "push-t") == {
        "kind": "remote", "url": "ws://127.0.0.1:1",
    }  # fmt: skip


def test_a_policy_process_builds_what_a_source_says(tmp_path: Path) -> None:
    episodes, recipe = point_mass.demonstrations(), point_mass.recipe(updates=2)
    for name in ("plain", "legato"):
        train_policy(episodes, recipe, name, objective(name), run=tmp_path, console=Console(quiet=True))
    seen, start = np.zeros(4, np.float32), nothing_to_continue(0, 2, 3)
    for method in ("sync", "legato"):
        source = policy_process.local(tmp_path, method, seed=3)
        built, handover = policy_process.build(json.loads(policy_process.argv(source)[-1]))
        same, _ = chunk_policy(tmp_path, method, seed=3)
        assert handover is METHODS[method].handover
        assert built.spec.action_names == point_mass.SPEC.action_names
        assert np.array_equal(built.next_chunk(seen, start), same.next_chunk(seen, start))
    with pytest.raises(CheckpointError, match="training-time-rtc"):
        policy_process.build(policy_process.local(tmp_path, "training-time-rtc"))
    with pytest.raises(UnknownNameError):
        policy_process.build(policy_process.local(tmp_path, "legatoo"))
    with pytest.raises(SpecError, match="nowhere"):
        policy_process.build(policy_process.local(tmp_path, "legato", device="nowhere"))


def test_a_policy_process_predicts_with_the_predictor_of_its_run(tmp_path: Path) -> None:
    """As the same parts do here, and another process of the same seed carries the same noise on."""
    episodes, quiet = point_mass.demonstrations(), Console(quiet=True)
    train_policy(episodes, point_mass.recipe(updates=2), "plain", objective("plain"), run=tmp_path, console=quiet)
    name = "naive:predictor=learned:noise=carried:scale=0.7"
    with pytest.raises(CheckpointError, match="predictor"):
        policy_process.build(policy_process.local(tmp_path, name, seed=3))
    training = PredictorTraining(updates=2, batch=8, most_steps=3, warmup=1)
    train_predictor(episodes, training, run=tmp_path / "predictor", width=8, console=quiet)
    rng = np.random.default_rng(0)
    seen, prefix, executed = (rng.normal(0, 1, shape).astype(np.float32) for shape in ((2, 4), (5, 2), (3, 2)))
    asked = Continuation(6, prefix, 2, 3, np.ones(5, np.int64), executed[-1], 4, Past(seen[0], executed))
    sources = [json.loads(policy_process.argv(policy_process.local(tmp_path, name, seed=3))[-1]) for _ in range(2)]
    one, other = (policy_process.build(source)[0] for source in sources)
    warm_up(one)
    assert np.array_equal(one.next_chunk(seen[1], asked), other.next_chunk(seen[1], asked))
    assert surprise_of(one) == surprise_of(other) > 0


@pytest.mark.parametrize("handover", list(Handover))
def test_a_remote_policy_takes_over_as_its_server_says_and_gives_up_before_it_is_given_up(handover: Handover) -> None:
    with served(Affine(), handover=handover) as server:
        built, found = policy_process.build(json.loads(policy_process.argv(policy_process.remote(server.url))[-1]))
        assert found is handover
        assert isinstance(built, RemotePolicy)
        assert built.deadline <= 0.8 * ANSWER_TIMEOUT
        built.close()


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ({}, "None"),
        ({"kind": "pickle"}, "pickle"),
        ({"kind": "local", "run": "x"}, "method"),
        ({"kind": "import", "target": "os", "arguments": {}}, "'os'"),
        ({"kind": "import", "target": "no_such_module:make", "arguments": {}}, "no_such_module"),
        ({"kind": "import", "target": "fakes.towards_policy:towards", "arguments": {"speed": 1.0, "pace": 1}}, "pace"),
        ({"kind": "import", "target": "fakes.towards_policy:Towards", "arguments": {}}, "speed"),
        (
            {"kind": "import", "target": "fakes.towards_policy:towards", "arguments": [1.0]},
            "fakes.towards_policy:towards",
        ),
    ],
)
def test_a_source_that_describes_no_policy_is_refused(source: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        policy_process.build(source)


def test_a_policy_that_does_not_start_ends_the_run(run: Callable[..., int]) -> None:
    with pytest.raises(PolicyError, match=r"did not start: .*multiply"):
        run(speed="fast")


def test_fault_3_a_policy_that_always_fails_ends_in_a_fault_with_its_root_cause(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latter part of a chunk of this policy is not finite: every one is refused, and the robot stays at rest."""
    monkeypatch.setattr(robot, "Executor", partial(Executor, tolerance=Tolerance(hold=0.2)))
    with pytest.raises(RobotError, match=r"no actions for 0\.2 s"):
        run(speed=1e300, seconds=PATIENCE)


def test_the_control_process_imports_no_torch() -> None:
    code = "import sys, segue.cli.robot, segue.links.worker; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
