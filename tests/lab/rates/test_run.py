"""The rates protocol on the point mass, trained for a moment."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import UNSET, structs
from rich.console import Console
from typer.testing import CliRunner

from fakes.point_mass import SPEC, PointMass, demonstrations
from segue.cli import app
from segue.core.chunk import nothing_to_continue
from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import DataError, SpecError, TimingError, UnknownNameError
from segue.lab import results, sweep
from segue.lab.rates import report, run
from segue.lab.rates.rates import CONTINUOUS, FORMS, Learner, Rates, Row, in_bfloat16, quick, rates_for, rows
from segue.lab.report.table import summarise
from segue.lab.tasks.tasks import Task, task
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.latent import LatentPolicy
from segue.strategies.naive import Naive
from segue.training import checkpoint
from segue.training.autoencoder import held_out

TINY = {"network": "mlp", "network_settings": {"width": 16}}
BINS = {"head": "bins", "head_settings": {"bins": 8}}
POINT = Task("point", "a point mass", 0.1, 12, 8, 4, PointMass, lambda: demonstrations((30, 24, 40, 26, 34)))
RATES = Rates(
    "point", factor=2, horizon=8, execution_horizon=4, delay=2, latent=3, updates=4, autoencoder_updates=3, batch=8,
    episodes=2, held_out_every=3, wide=Learner("flow", **TINY),
    learners={
        **{family: Learner(family, **TINY) for family in CONTINUOUS},
        "bins": Learner("regression", family_settings=BINS, **TINY),
    },
)  # fmt: skip
DOOR = 28


@pytest.fixture(scope="module")
def point() -> Iterator[None]:
    """The point mass as a task by the name ``point``."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (sweep, run):
            patch.setattr(module, "task", lambda name: POINT if name == "point" else task(name))
        yield


@pytest.fixture(scope="module")
def done(point: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole protocol."""
    folder = tmp_path_factory.mktemp("rates")
    run.run(RATES, runs=folder, out=folder, workers=1, command="segue rates", console=Console(quiet=True))
    return folder


@pytest.fixture(scope="module")
def content(done: Path) -> results.Results:
    return results.read(done / "results.json")


def section(content: results.Results) -> results.RatesResult:
    assert content.rates
    return content.rates


def names(found: list[Row]) -> set[str]:
    return {row.name for row in found}


def test_every_family_has_every_form_that_it_can_have() -> None:
    found, missing = rows(rates_for(task("adroit-door"), DOOR, delay=0.08), DOOR, LINEAR)
    common = {"direct", "held", "linear", "cubic", "latent", "latent-rtr"}
    assert names(found) == {
        *(f"{family}-{form}" for family in ("flow", "diffusion", "regression") for form in common),
        *("flow-direct-wide", "flow-latent-legato", "regression-direct-bfloat16", "regression-latent-bfloat16"),
    }
    assert {each.row for each in missing if "velocity field" in each.why} == {
        "diffusion: latent, Legato", "regression: latent, Legato"
    }  # fmt: skip
    waiting = {each.row for each in missing if each.why.startswith("synchronous")}
    assert waiting == {row.label for row in found if FORMS[row.form].asynchronous_only}
    assert {each.row for each in missing if "57,344 scores" in each.why} == {
        "bins: high rate", "bins: low rate, held", "bins: latent"
    }  # fmt: skip


def test_displacements_have_no_linear_row_and_a_wide_network_no_wider_one() -> None:
    found, missing = rows(
        rates_for(task("metaworld/pick-place"), 4, delay=0.08), 4, Dimensions.of(*["displacement"] * 3, "gripper")
    )
    assert not {name for name in names(found) if name.endswith(("linear", "wide"))}
    assert {each.row for each in missing if "held displacement" in each.why} >= {"flow: low rate, linear"}
    assert {name for name in names(found) if name.startswith("bins")} == {"bins-direct", "bins-held", "bins-latent"}
    assert [each.why for each in missing if each.row == "flow: high rate, wide network"] == [
        "the network of every row has a width of 512, and a chunk 128 numbers"
    ]


@pytest.mark.parametrize(
    ("name", "actions", "delay", "latent"), [("adroit-door", 28, 8, 16), ("metaworld/peg-insert-side", 4, 8, 8)]
)
def test_the_delay_is_whole_periods_near_the_seconds_that_were_asked_for(
    name: str, actions: int, delay: int, latent: int
) -> None:
    protocol = rates_for(task(name), actions, delay=0.08)
    assert (protocol.factor, protocol.delay, protocol.latent, protocol.execution_horizon) == (4, delay, latent, 8)
    assert quick(protocol).updates < protocol.updates
    assert 0 < quick(protocol).episodes < protocol.episodes


def test_families_can_be_left_out_and_must_exist() -> None:
    some = replace(RATES, families=("regression",))
    wanted = rows(some, 2, LINEAR)[0]
    assert {row.family for row in wanted} == {"regression"}
    trained = {job.family for _, jobs in run._trainings(some, wanted, [Path("a")]) for job in jobs}
    assert trained == {"", "regression"}
    with pytest.raises(UnknownNameError, match="regression"):
        replace(RATES, families=("regresion",))


def test_half_a_period_of_delay_is_refused() -> None:
    with pytest.raises(SpecError, match="whole periods"):
        replace(RATES, delay=3)


def test_a_delay_that_no_chunk_outlasts_is_refused_before_training() -> None:
    with pytest.raises(TimingError, match="horizon of at least 40"):
        rates_for(task("adroit-door"), DOOR, delay=0.2)


def test_families_without_a_row_are_refused_before_training(tmp_path: Path) -> None:
    bins = replace(rates_for(task("adroit-door"), DOOR, delay=0.08), families=("bins",))
    with pytest.raises(SpecError, match="scores of bins"):
        run.run(bins, runs=tmp_path, out=tmp_path, workers=1, command="", console=Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_every_row_is_measured_along_episodes_and_in_the_simulator(content: results.Results) -> None:
    wanted = names(rows(RATES, 2, LINEAR)[0])
    assert {row.name for row in section(content).rows} == wanted
    assert {cell.method for cell in content.cells} == {
        *wanted, *(row + run.SYNC for row in wanted if row.endswith(("direct", "held", "linear", "latent")))
    }  # fmt: skip
    for row in section(content).rows:
        measured: dict[str, Any] = row.open_loop["motion"]
        assert measured["deviation"] > 0
        assert measured["jerk"] == pytest.approx(measured["jerk_step"] / SPEC.dt**3, rel=1e-4)
        assert row.updates == RATES.updates
        assert row.autoencoder_updates == (RATES.autoencoder_updates if "latent" in row.name else 0)
    for cell in content.cells:
        assert (cell.delay, cell.horizon, cell.execution_horizon) == (2, 8, 4)
        assert len(cell.values("success")) == RATES.episodes


def test_controls_have_no_policy_in_them(content: results.Results) -> None:
    controls: dict[str, Any] = {each.label: each.open_loop["motion"] for each in section(content).controls}
    assert controls["demonstrations"]["deviation"] == 0
    assert controls["low rate alone, held"]["deviation"] > controls["low rate alone, linear"]["deviation"]
    noise = [controls[f"the same noise on low-rate knots, {name}"] for name in ("held", "linear")]
    assert controls["noise at the high rate"]["jerk"] > noise[0]["jerk"] > noise[1]["jerk"]


def test_rounding_is_within_half_a_bin_and_within_half_a_digit() -> None:
    chunks = np.random.default_rng(0).normal(3, 2, (5, 8, 2))
    width = (chunks.max((0, 1)) - chunks.min((0, 1))) / 8
    assert np.all(np.abs(run.in_bins(chunks, 8) - chunks) <= width / 2 + 1e-6)
    assert len(np.unique(run.in_bins(chunks, 8)[..., 0])) <= 8
    mean, scale = chunks.mean((0, 1)), chunks.std((0, 1)) + 0.01
    error = np.abs(run.in_bfloat16_steps(chunks) - chunks) / scale
    assert np.all(error <= 2.0**-9 * np.maximum(np.abs(chunks - mean) / scale, 0.01) * 2 + 1e-6)
    assert error.max() > 2.0**-10


def test_all_policies_have_the_same_budget_and_none_has_seen_the_held_out_episodes(done: Path) -> None:
    infos = [checkpoint.load(path.parent).info for path in sorted((done / "seed-0").glob("*-*/*/last"))]
    budgets: dict[str, int] = {}
    for path, info in zip(sorted((done / "seed-0").glob("*-*/*/last")), infos, strict=True):
        run = path.parents[1].name
        assert info["training"]["batch"] == RATES.batch
        if path.parent.name != "legato":  # shares the first stage of the plain one
            budgets[run] = budgets.get(run, 0) + info["update"]
    assert set(budgets.values()) == {RATES.updates}
    assert len(budgets) == 12
    learned = held_out(POINT.demonstrations(), 3)[0]
    policy = checkpoint.load(done / "seed-0" / "regression-high" / "regression").policy()
    np.testing.assert_allclose(policy.units.observation.mean, learned.observation.mean(0), atol=1e-6)  # type: ignore[attr-defined]


def test_a_finished_protocol_is_not_trained_again(
    done: Path, content: results.Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "rows", lambda *given: ([Row("flow", "direct"), Row("flow", "latent")], []))
    before = {path: path.stat().st_mtime_ns for path in done.glob("seed-0/**/*.safetensors")}
    again = run.run(RATES, runs=done, out=tmp_path, workers=1, command="", console=Console(quiet=True))
    assert before == {path: path.stat().st_mtime_ns for path in done.glob("seed-0/**/*.safetensors")}
    was = {row.name: row for row in section(content).rows}
    for row in section(results.read(again)).rows:
        assert row == was[row.name]


def test_rounding_moves_a_chunk_by_a_little_and_leaves_the_policy_alone(done: Path) -> None:
    for space in ("high", "latent"):
        policy = checkpoint.load(done / "seed-0" / f"regression-{space}" / "regression").policy()
        observation, asked = POINT.demonstrations().observation[:1], [nothing_to_continue(0, 2, 4)]

        def chunk(one: Any, observation: Any = observation, asked: Any = asked) -> Any:
            return ContinuingPolicy(one, Naive()).next_chunks(observation, asked, [torch.Generator()])

        exact, rounded = chunk(policy), chunk(in_bfloat16(policy))
        assert 0 < np.abs(exact - rounded).max() < 0.02
        np.testing.assert_array_equal(chunk(policy), exact)
        assert isinstance(policy, LatentPolicy) == (space == "latent")


def test_the_tables_and_the_page_show_every_row(content: results.Results, tmp_path: Path) -> None:
    screen = Console(width=400, record=True, file=(tmp_path / "screen").open("w"))
    screen.print(report.open_loop_table(content))
    screen.print(report.closed_loop_table(content, summarise(content)))
    shown = screen.export_text()
    screen.file.close()
    page = report.write_page(content, tmp_path / "page" / "report.html").read_text()
    for row in section(content).rows:
        assert shown.count(row.label + " ") == 2
        assert page.count(f'<th scope="row">{row.label}</th>') == 2
    assert "4 + 3" in page
    assert (
        page.index(report.said(content, summarise(content))) < page.index("Who wins where") < page.index("Closed loop")
    )
    assert "deviation\n[robot units]" in page
    for each in section(content).not_applicable:
        assert each.why in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_table_for_a_readme_has_a_line_per_row_and_control(content: results.Results) -> None:
    head, rule, *lines = report.markdown(content, summarise(content)).splitlines()
    labels = [line.split(" | ")[0].strip("| ") for line in lines]
    rates = section(content)
    assert labels == [f"*{each.label}*" for each in rates.controls] + [row.label for row in rates.rows]
    assert {line.count("|") for line in (head, rule, *lines)} == {head.count("|")}
    shown = next(line for line in lines if line.startswith("| flow: high rate |"))
    row = next(row for row in rates.rows if row.name == "flow-direct")
    assert shown.split(" | ")[1] == report.short(row.open_loop["motion"]["deviation"])


def test_the_report_of_these_results_is_their_own(done: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    shown = CliRunner().invoke(app.app, ["report", str(done / "results.json"), "--out", str(page)])
    assert shown.exit_code == 0
    assert "Closed loop, in the simulator" in page.read_text()


def test_other_results_have_no_such_tables(content: results.Results) -> None:
    with pytest.raises(DataError, match="segue rates"):
        report.open_loop_table(structs.replace(content, rates=UNSET))


def test_latent_policies_are_trained_after_their_autoencoder() -> None:
    spread = run._trainings(RATES, rows(RATES, 2, LINEAR)[0], [Path("a"), Path("b")])
    (first, direct), (second, latent) = spread
    assert "autoencoder" in first
    assert "latent" in second
    assert len(direct) == 2 * (1 + 8)
    assert [(job.seed, job.family) for job in latent if job.family == "flow"] == [(0, "flow"), (1, "flow")]
    assert {job.objectives for job in latent if job.family == "flow"} == {("plain", "legato")}


def test_a_task_that_is_too_slow_is_refused() -> None:
    refused = CliRunner().invoke(app.app, ["rates", "push-t"])
    assert isinstance(refused.exception, SpecError)
    assert "at least 40 Hz" in str(refused.exception)


@pytest.mark.parametrize(
    ("name", "first", "unit", "summed"),
    [("adroit-door", "arm slide", "mm", ()), ("metaworld/pick-place", "tool", "mm", (0, 1, 2))],
)
def test_actions_are_measured_in_physical_units(name: str, first: str, unit: str, summed: tuple[int, ...]) -> None:
    robot = task(name).simulator()
    found = task(name).groups(robot)
    assert (found[0].name, found[0].unit) == (first, unit)
    assert sorted(i for group in found for i in group.dimensions) == list(range(len(robot.spec.action_names)))
    assert robot.spec.kinds.moves == summed
    assert (found[0].kind == "displacement") == bool(summed)
