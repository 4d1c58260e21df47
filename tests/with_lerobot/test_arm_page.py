"""The commands of docs/doors/lerobot-arm.md, with the simulated robot and its cameras in the place of an SO-101."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from documented import QUICKLY, ROOT, changed, documented
from reaching import Run
from tiny_checkpoints import PICTURES, act, smolvla

from segue.core.chunk import nothing_to_continue
from segue.core.observation import Observation
from segue.integrations.lerobot import chosen
from segue.plan.plan import Handover
from segue.trace.file import read

PAGE = ROOT / "docs" / "doors" / "lerobot-arm.md"
CAMERAS = "{front: {type: reach, width: 64, height: 48, fps: 30}, wrist: {type: reach, width: 64, height: 48, fps: 30}}"
ENOUGH = 8
"""Actions of more than one chunk: how many more depends on what else the machine does."""
OF_THE_ARM = ("--robot.port", "--robot.id")


def simulated(arguments: list[str], **settings: object) -> list[str]:
    """The same for the robot of the tests."""
    kept = [each for each in arguments if each.partition("=")[0] not in OF_THE_ARM]
    return changed(
        [each.replace("so101_follower", "reach").replace("data/so101", "data/seen") for each in kept],
        robot__cameras=CAMERAS, **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def seen(run: Run, workplace: Path) -> Path:
    """A data set of two cameras."""
    run("python", str(ROOT / "examples" / "lerobot_robot_reach" / "demonstrate.py"), "data/seen", "front", "wrist")
    return workplace / "data" / "seen"


def test_from_a_recording_to_a_trace(run: Run, workplace: Path, seen: Path) -> None:
    check, report = documented("segue", PAGE)[:2]
    assert "can be used" in run("segue", *[each.replace("data/so101", "data/seen") for each in check])
    assert "front, wrist" in run("segue", "check", str(seen))
    [train] = documented("lerobot-train", PAGE)
    quickly = {**QUICKLY, "steps": 12, "policy.plain_updates": 6, "batch_size": 8, "log_freq": 3}
    flags = [each for each in train if each.partition("=")[0] not in {f"--{name}" for name in quickly}]
    flags += [f"--{name}={value}" for name, value in quickly.items()]
    said = run("lerobot-train", *[each.replace("data/so101", "data/seen") for each in flags])
    assert "stage:1.000" in said
    assert "stage:2.000" in said
    [rollout] = documented("lerobot-rollout", PAGE)
    for kind in ("segue", "rtc", "sync"):
        log = workplace / f"seen-{kind}.json"
        words = simulated(rollout, robot__log=log, duration=3, return_to_initial_position="false")
        if kind != "segue":
            words = changed([each for each in words if "inference" not in each], inference__type=kind)
        run("lerobot-rollout", *words)
        assert len(json.loads(log.read_text())["sent"]) > ENOUGH
    trace = read(workplace / "runs" / "so101" / "trace")
    sent = np.array([[each["x.pos"], each["y.pos"]] for each in json.loads(
        (workplace / "seen-segue.json").read_text())["sent"]])  # fmt: skip
    recorded = trace.ticks["action"][~np.isnan(trace.ticks["action"]).any(1)]
    np.testing.assert_allclose(recorded, sent, atol=1e-6)
    run("segue", *report)


@pytest.mark.parametrize("made", [act, smolvla])
def test_their_policy_drives_the_arm_from_both_sides(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[..., Path]
) -> None:
    name = made.__name__
    folder = made(workplace / name, monkeypatch)
    ours = documented("segue", PAGE)[2]
    kept = [each for each in ours if not each.startswith("lerobot:outputs") and each not in ("--policy", "30")]
    log, trace = workplace / f"{name}-ours.json", workplace / f"{name}-trace"
    words = simulated(
        [each for each in kept if each != "--seconds"], robot__log=log, robot__ranges="x.pos=-1:1,y.pos=-1:1"
    )
    said = run("segue", *words, "--policy", f"lerobot:{folder}", "--seconds", "3", "--trace", str(trace))
    assert "time is up" in said
    sent = json.loads(log.read_text())["sent"]
    assert len(sent) > ENOUGH
    ran = read(trace).header["method"]
    assert ran == ("cross-fade" if made is act else "rtc-identity")
    ticks = read(trace).ticks
    assert ticks["ages"].shape[1] == 2
    assert np.nanmax(ticks["ages"]) <= 0.25
    [rollout] = documented("lerobot-rollout", PAGE)
    theirs = workplace / f"{name}-theirs.json"
    words = simulated(rollout, robot__log=theirs, duration=3, return_to_initial_position="false", policy__path=folder)
    run("lerobot-rollout", *[each for each in words if "inference.trace" not in each])
    assert len(json.loads(theirs.read_text())["sent"]) > ENOUGH


def test_their_flow_policy_is_one_for_the_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, names = smolvla(tmp_path / "smolvla", monkeypatch), ["x.pos", "y.pos"]
    policy, handover = chosen.policy(
        str(folder), chosen.DEFAULT, dt=1 / 30, observation_names=[*names, "goal x.pos", "goal y.pos"],
        action_names=names, action_kinds=[],
    )  # fmt: skip
    assert handover is Handover.CONTINUE
    assert policy.spec.action_names == tuple(names)
    assert policy.spec.cameras == dict.fromkeys(PICTURES, (48, 64))
    pictures = {key: np.zeros((48, 64, 3), np.uint8) for key in PICTURES}
    shown = Observation(np.zeros(4, np.float32), pictures, "put the cup away")
    chunk = policy.next_chunk(shown, nothing_to_continue(0, 2, 4))
    assert chunk.shape == policy.spec.chunk_shape
    assert np.isfinite(chunk).all()
