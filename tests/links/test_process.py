"""Policies in processes of their own, killed, hung, raising and orphaned. Numbers are rows of the fault matrix."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.linked_policies import PATIENCE, SPEC, Echo, ask, request, running, until
from segue.core.chunk import Array, Continuation, Past
from segue.errors import PolicyError
from segue.links.link import Backoff, LinkState
from segue.links.process import ProcessLink, hello_from_line
from segue.links.worker import warm_up
from segue.plan.plan import Handover


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:  # ended, and nobody has asked how
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] == "Z"
    except OSError:
        return False


def test_what_is_asked_is_answered_and_episodes_are_told_apart() -> None:
    with running("echo") as link:
        hello = link.hello(PATIENCE)
        assert (hello.spec, hello.handover, link.state) == (SPEC, Handover.CONTINUE, LinkState.READY)
        assert hello.inference >= 0
        answer = ask(link, 1)
        assert (answer.number, answer.epoch, answer.error) == (1, 0, "")
        assert answer.actions is not None
        assert answer.actions[:3].tolist() == [[41, 2], [0.125, 1], [2, 0.25]]  # one reset after the warm-up
        second, third = ask(link, 2), ask(link, 3, epoch=5, known=0)
        assert second.actions is not None
        assert third.actions is not None
        assert second.actions[2].tolist() == [2, 0.25]
        assert third.actions[:3].tolist() == [[43, 0], [0.125, 1], [3, -1]]
        assert third.seconds >= 0
        assert link.poll() is None


def test_first_actions_come_before_the_others_and_what_is_missing_at_the_end_is_an_error(tmp_path: Path) -> None:
    mark = tmp_path / "on"
    with running("unfolding", arguments={"mark": str(mark)}) as link:
        link.hello(PATIENCE)
        for number, missing in ((1, 0), (2, 1)):
            mark.unlink(missing_ok=True)
            link.send(request(number), np.array([0, 0.125, missing], np.float32))
            part = until(link.poll)
            assert (part.number, part.more, part.error) == (number, True, "")
            assert part.actions.tolist() == [[40 + number, 2], [0.125, 1]]
            assert link.poll() is None
            mark.touch()
            while (last := until(link.poll)).more:  # five actions are a part of six
                assert missing
            assert last.number == number
            if missing:
                assert last.actions is None
                assert "a chunk of shape (5, 2)" in last.error
            else:
                assert last.actions.shape == (6, 2)
                assert last.actions[:2].tolist() == part.actions.tolist()
        assert link.poll() is None


def test_who_says_first_actions_and_dies_owes_the_others(tmp_path: Path) -> None:
    with running("unfolding", arguments={"mark": str(tmp_path / "never")}) as link:
        link.hello(PATIENCE)
        link.send(request(1), np.array([0, 0.125, 0], np.float32))
        assert until(link.poll).more
        assert link.pid is not None
        os.kill(link.pid, signal.SIGKILL)
        last = until(link.poll)
        assert (last.number, last.actions, last.more) == (1, None, False)
        assert "signal 9" in last.error


def test_what_led_to_a_request_is_told_and_how_surprising_it_was_comes_back() -> None:
    executed = np.linspace(0, 1.5, 8, dtype=np.float32).reshape(4, 2)
    past = Past(np.array([9, 8, 7], np.float32), executed)
    with running("predicting") as link:
        link.hello(PATIENCE)
        answer = ask(link, 1, epoch=6, past=past)
        assert answer.actions is not None
        assert answer.actions[3].tolist() == [6, 4]
        assert answer.actions[4:, 0].tolist() == [8, 7]
        assert answer.surprise == 1.5
        assert np.isnan(ask(link, 2, behaviour=3, epoch=6, past=past).surprise)  # there is no answer
        nothing = ask(link, 3, epoch=6)
        assert nothing.actions is not None
        assert nothing.actions[3].tolist() == [6, -1]
        assert np.isnan(nothing.surprise)


def test_a_policy_that_predicts_nothing_is_not_surprised() -> None:
    with running("echo") as link:
        link.hello(PATIENCE)
        assert np.isnan(ask(link, 1).surprise)


def test_fault_8_what_does_not_fit_into_shared_memory_is_an_error_and_not_the_end_of_the_loop() -> None:
    too_long = Past(np.zeros(3, np.float32), np.zeros((SPEC.horizon + 1, 2), np.float32))
    of_another = Past(np.zeros(4, np.float32), np.zeros((1, 2), np.float32))
    with running("echo") as link:
        link.hello(PATIENCE)
        for number, past in enumerate((too_long, of_another), start=1):
            answer = ask(link, number, known=SPEC.horizon, past=past)
            assert (answer.number, answer.actions) == (number, None)
            assert re.match("a message of|a state of shape", answer.error)
        assert ask(link, 3).actions is not None


def test_the_method_says_how_chunks_take_over() -> None:
    with running("waiting") as link:
        assert link.hello(PATIENCE).handover is Handover.WAIT


def test_fault_1_a_policy_that_is_killed_is_started_again() -> None:
    with running("echo") as link:
        link.hello(PATIENCE)
        for restarts in (1, 2):
            pid = link.pid
            assert pid is not None
            answer = ask(link, restarts, behaviour=1)
            assert answer.actions is None
            assert answer.error == "ended by signal 9"
            until(lambda restarts=restarts: link.restarts == restarts and link.state is LinkState.READY)
            assert gone(pid)
            assert ask(link, 10 + restarts).actions is not None


def test_a_request_while_nobody_is_there_is_answered_with_the_reason() -> None:
    with running("echo", backoff=Backoff(first=PATIENCE, most=PATIENCE)) as link:
        link.hello(PATIENCE)
        assert ask(link, 1, behaviour=5).error == "ended with status 7"
        assert link.state is LinkState.LOST
        assert ask(link, 2).error == "ended with status 7"


def test_fault_2_a_policy_that_hangs_is_killed_and_started_again() -> None:
    with running("echo", answer_timeout=0.5) as link:
        link.hello(PATIENCE)
        answer = ask(link, 1, behaviour=2)
        assert answer.actions is None
        assert "no answer for" in answer.error
        until(lambda: link.restarts >= 1 and link.state is LinkState.READY)


def test_fault_2_a_policy_that_was_stopped_and_goes_on_in_time_is_kept() -> None:
    with running("echo") as link:
        link.hello(PATIENCE)
        pid = link.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        link.send(request(1), np.zeros(3, np.float32))
        assert link.poll() is None
        link.send(request(2), np.zeros(3, np.float32))
        os.kill(pid, signal.SIGCONT)
        assert until(link.poll).number == 2  # the newest; the first was never seen
        assert link.restarts == 0


def test_fault_3_a_policy_that_raises_says_why_and_goes_on() -> None:
    with running("echo") as link:
        link.hello(PATIENCE)
        for number in range(3):
            answer = ask(link, 2 * number, behaviour=3)
            assert (answer.actions, answer.error) == (None, "RuntimeError: no such thing")
            assert ask(link, 2 * number + 1).actions is not None
        assert link.restarts == 0


def test_fault_6_and_8_chunks_that_are_too_large_or_of_another_shape() -> None:
    with running("echo") as link:
        link.hello(PATIENCE)
        assert "shape (5, 2)" in ask(link, 1, behaviour=4).error
        answer = ask(link, 2, behaviour=6)
        assert answer.actions is not None
        assert np.isinf(answer.actions[0]).all()  # which a plan refuses


@pytest.mark.parametrize(
    ("target", "said", "change"),
    [
        ("broken", "no weights", "see its output above"),
        ("mistaken", "TypeError: object of type 'int' has no len()", "see its output above"),
        ("lying", "shape (5, 2)", "correct the policy, or its spec"),
        ("missing", "fakes.linked_policies:missing", "package.module:function"),
    ],
)
def test_a_policy_that_does_not_start_says_why(
    target: str, said: str, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Errors of ours say what to change; of others the traceback is there."""
    with running(target) as link, pytest.raises(PolicyError) as caught:
        link.hello(PATIENCE)
    assert said in str(caught.value)
    assert change in caught.value.expected + caught.value.change
    assert link.state is LinkState.LOST
    assert link.restarts == 0
    assert ("Traceback" in capfd.readouterr().err) == (target in ("broken", "mistaken"))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/nowhere/python"], "cannot be started"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with status 3"),
        ([sys.executable, "-c", "import os, sys; os.write(int(sys.argv[2]), b'hello\\n')"], "something else"),
        ([sys.executable, "-c", "import os, sys; os.write(int(sys.argv[2]), b'x' * 9); os.close(0)"], "ended with"),
    ],
)
def test_a_process_that_is_no_policy(argv: list[str], said: str) -> None:
    link = ProcessLink(argv)
    try:
        with pytest.raises(PolicyError, match=said):
            link.hello(PATIENCE)
    finally:
        link.close()


def test_a_policy_that_is_not_warm_in_time() -> None:
    link = ProcessLink([sys.executable, "-c", f"import time; time.sleep({PATIENCE})"], start_timeout=0.1)
    try:
        with pytest.raises(PolicyError, match=r"not ready 0\.1 s"):
            link.hello(PATIENCE)
    finally:
        link.close()


def test_another_policy_than_before_is_not_taken(tmp_path: Path) -> None:
    """Fault 8 after a restart: the plan was made for the first one."""
    with running("other_at_the_second_time", arguments={"mark": str(tmp_path / "mark")}) as link:
        assert link.hello(PATIENCE).spec.horizon == 6
        ask(link, 1, behaviour=1)
        until(lambda: link.reason.startswith("another policy"))
        until(lambda: not link._thread.is_alive())
        assert (link.state, link.restarts) == (LinkState.LOST, 1)


def test_closing_ends_the_process_and_leaves_no_descriptor() -> None:
    open_before = len(list(Path("/dev/fd").iterdir()))
    with running("echo") as link:
        link.hello(PATIENCE)
        pid = link.pid
        assert pid is not None
    link.close()
    assert gone(pid)
    assert link.poll() is None
    del link
    assert len(list(Path("/dev/fd").iterdir())) <= open_before


def test_closing_before_it_is_warm() -> None:
    with running("echo") as link:
        pass
    assert link.state is LinkState.LOST


@pytest.mark.parametrize("hangs", [False, True])
def test_fault_21_a_policy_process_ends_with_its_control_process(hangs: bool) -> None:
    """The control process is killed while the policy waits, or hangs in an inference."""
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import numpy as np
from fakes import linked_policies as linked
link = linked.link("echo")
link.hello(linked.PATIENCE)
if {hangs}:
    link.send(linked.request(1), np.array([2, 0, 0], np.float32))
    time.sleep(0.2)
print(link.pid, flush=True)
time.sleep(linked.PATIENCE)
"""
    if hangs and not sys.platform.startswith("linux"):
        pytest.skip("elsewhere a policy that hangs is not told")
    control = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert control.stdout is not None
        pid = int(control.stdout.readline())
        assert not gone(pid)
        control.send_signal(signal.SIGKILL)
        until(lambda: gone(pid))
    finally:
        control.kill()
        control.communicate()


@pytest.mark.faults
def test_fault_1_a_hundred_kills_at_random_moments() -> None:
    """Whatever it was doing: every request is answered once, by the policy or with the reason."""
    rng = random.Random(0)
    with running("echo") as link:
        link.hello(PATIENCE)
        for number in range(100):
            pid = link.pid
            assert pid is not None
            killer = threading.Timer(rng.uniform(0, 0.002), os.kill, (pid, signal.SIGKILL))
            killer.start()
            for part in range(50):
                answer = ask(link, 50 * number + part)
                assert answer.number == 50 * number + part
                assert (answer.actions is None) == bool(answer.error)
                if answer.error:
                    break
            killer.join()
            until(lambda number=number: link.restarts == number + 1 and link.state is LinkState.READY)
            assert link.poll() is None


def test_a_policy_is_warmed_up_with_all_that_it_will_be_told() -> None:
    """What it only does on a robot would otherwise be missing in the delay that is planned for."""
    told: list[Continuation] = []

    class Told(Echo):
        def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
            told.append(continuation)
            return super().next_chunk(observation, continuation)

    assert warm_up(Told()) >= 0
    assert told[0].past is None
    for each in told[1:]:
        assert each.past is not None
        assert each.past.state.shape == (len(SPEC.observation_names),)
        assert each.past.executed.shape == (each.execution_horizon, len(SPEC.action_names))


@given(st.integers(1, 10_000), st.integers(0, 1000))
def test_pauses_double_up_to_a_limit(failures: int, seed: int) -> None:
    backoff = Backoff(first=0.1, most=5.0, jitter=0.25)
    pause = backoff.seconds(failures, random.Random(seed))
    full = min(0.1 * 2 ** min(failures - 1, 20), 5.0)
    assert 0.75 * full <= pause <= full


def test_hello_is_what_was_said() -> None:
    line = (
        b'{"spec": {"horizon": 6, "dt": 0.02, "observation_names": ["x"], "action_names": ["a", "b"]},'
        b' "handover": "restart", "inference": 0.5}\n'
    )
    hello = hello_from_line(line)
    assert (hello.spec.action_names, hello.handover, hello.inference) == (("a", "b"), Handover.RESTART, 0.5)
