"""How openpi's servers are told what a robot sees, and pictures of another size."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes.served_policies import openpi_frame, openpi_read
from segue.core.observation import Observation, blank
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.links import frames, layouts
from segue.links.layouts import LAYOUTS, Layout, layout, resized

ARM = PolicySpec(1, 0.02, ("a", "b", "c"), ("a", "b"), cameras={"front": (48, 64)})


def sent(found: Layout, robot: PolicySpec, **words: str) -> dict:
    """What a server reads of a message about black pictures and a state of 0, 1, 2, ..."""
    dark = blank(len(robot.observation_names), robot.cameras)
    state = np.arange(len(robot.observation_names), dtype=np.float32)
    seen = Observation(state, dark.pictures) if isinstance(dark, Observation) else state
    return openpi_read(frames.encode(found.message(robot.observation_names, seen, **words), checksum=False))


def test_aloha_s_keys_are_maps_in_maps_and_its_channels_come_first() -> None:
    robot = layout("aloha").example(50)
    found = sent(layout("aloha"), robot, prompt="fold the towel")
    assert found.keys() == {"state", "images", "prompt"}
    assert found["state"].tolist() == list(range(14))
    assert {name: picture.shape for name, picture in found["images"].items()} == dict.fromkeys(
        ("cam_high", "cam_left_wrist", "cam_right_wrist"), (3, 224, 224)
    )
    assert found["prompt"] == "fold the towel"


def test_droid_s_keys_have_slashes_and_its_state_two_parts() -> None:
    found = sent(layout("droid"), layout("droid").example(15))
    assert found.keys() == {
        *("observation/joint_position", "observation/gripper_position"),
        *("observation/exterior_image_1_left", "observation/wrist_image_left"),
    }
    assert found["observation/joint_position"].tolist() == list(range(7))
    assert found["observation/gripper_position"].tolist() == [7]
    assert found["observation/wrist_image_left"].shape == (224, 224, 3)


def test_libero_s_state_is_one_vector() -> None:
    found = sent(layout("libero"), layout("libero").example(20))
    assert found.keys() == {"observation/state", "observation/image", "observation/wrist_image"}
    assert found["observation/state"].shape == (8,)


PICTURE = (224, 224, 3)
READ = {  # by openpi's transforms at 15a9616: shapes of the numbers and pictures, then actions and rate of its examples
    "aloha": (
        {
            ("state",): (14,),
            **{("images", f"cam_{name}"): (3, 224, 224) for name in ("high", "left_wrist", "right_wrist")},
        },
        14,
        50,
    ),
    "droid": (
        {
            ("observation/joint_position",): (7,),
            ("observation/gripper_position",): (1,),
            ("observation/exterior_image_1_left",): PICTURE,
            ("observation/wrist_image_left",): PICTURE,
        },
        8,
        15,
    ),
    "libero": (
        {("observation/state",): (8,), ("observation/image",): PICTURE, ("observation/wrist_image",): PICTURE},
        7,
        20,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_sends_what_openpi_reads_and_nothing_else(name: str) -> None:
    """Numbers as floats, in the robot's order over all keys; pictures as bytes, which openpi does not scale again."""
    wanted, actions, rate = READ[name]
    robot = replace(layout(name).example(rate), cameras=dict.fromkeys(layout(name).cameras.values(), (480, 640)))
    found = sent(layout(name), robot, prompt="do something")
    assert found.pop("prompt") == "do something"
    flat = {}
    for key, value in found.items():
        flat |= {(key, inner): each for inner, each in value.items()} if isinstance(value, dict) else {(key,): value}
    assert {key: value.shape for key, value in flat.items()} == wanted
    assert {value.dtype.name for value in flat.values() if value.ndim == 3} == {"uint8"}
    state = np.concatenate([value for value in flat.values() if value.ndim == 1])
    assert state.dtype == np.float32
    assert state.tolist() == list(range(len(robot.observation_names)))
    assert (layout(name).actions, layout(name).rate) == (actions, rate)


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_example_fits_its_layout(name: str) -> None:
    found = layout(name)
    assert found.rate is not None
    found.check(found.example(found.rate))
    assert len(found.example(found.rate).action_names) == found.actions


def test_numbers_are_found_by_their_names_in_any_order() -> None:
    found = Layout(state={"x": ("c", "a"), "y": ("b",)})
    found.check(ARM)
    assert sent(found, ARM)["x"].tolist() == [2, 0]
    assert sent(found, ARM)["y"].tolist() == [1]


def test_channels_first_is_the_same_picture_turned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    seen = Observation(np.zeros(3, np.float32), {"front": picture})
    told = {
        channels: Layout(state={"s": 3}, cameras={"i": "front"}, size=(6, 8), channels=channels)
        for channels in ("first", "last")
    }
    read = {
        name: openpi_read(openpi_frame(each.message(ARM.observation_names, seen)))["i"] for name, each in told.items()
    }
    assert (read["last"] == picture).all()
    assert (read["first"] == np.moveaxis(picture, -1, 0)).all()


def test_what_an_observation_says_is_to_be_done_counts_more() -> None:
    told = Layout(state={"s": 3}, prompt="task")
    seen = Observation(np.zeros(3, np.float32), {}, "this")
    assert told.message(ARM.observation_names, seen, "that")["task"] == "this"
    assert told.message(ARM.observation_names, replace(seen, prompt=""), "that")["task"] == "that"
    assert "task" not in told.message(ARM.observation_names, seen.state)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Layout(state={"s": ("a", "elbow")}), "'elbow'"),
        (Layout(state={"s": 2}), "2 numbers"),
        (Layout(state={"s": 4}), "4 numbers"),
        (Layout(state={"s": 3, "t": ("a",)}), "3 numbers"),  # which of them would the third be?
        (Layout(state={"s": 3}, cameras={"i": "wrist"}), "'wrist'"),
        (Layout(state={"s": 3}, actions=3), "3 actions"),
        (Layout(state={"s": 3}, actions=("b", "a")), "'b' as action 0"),
        (Layout(state={"s": 3}, rate=15), "50 Hz"),
    ],
)
def test_a_layout_for_another_robot_is_refused(wrong: Layout, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        wrong.check(ARM)
    Layout(state={"s": 3}, cameras={"i": "front"}, actions=("a", "b"), rate=50).check(ARM)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "state"),
        ("[state]\ns = 0", "1"),
        ("[state]\ns = []", "length"),
        ("[state]\ns = 5000", "4096"),
        ('channels = "middle"\n[state]\ns = 1', "middle"),
        ("colour = 1\n[state]\ns = 1", "colour"),
        ("size = [224]\n[state]\ns = 1", "length"),
        ("size = [224, 99999]\n[state]\ns = 1", "4096"),
        ("rate = nan\n[state]\ns = 1", "0.0"),
        ("rate = 0\n[state]\ns = 1", "0.0"),
        ("[state", "expected"),
        ("\x00", "invalid"),
        ("a = " + "[" * 5000, ""),
    ],
)
def test_a_file_with_something_else_in_it_is_refused(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "arm.toml"
    file.write_text(text)
    with pytest.raises(SpecError) as refused:
        layout(str(file))
    assert "arm.toml" in refused.value.got
    assert why in refused.value.got.lower()


def test_a_file_that_is_no_text_and_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "long.toml").write_bytes(b"#" * 100_000)
    for name in ("bytes.toml", "long.toml", "none.toml", "."):
        with pytest.raises(SpecError):
            layout(str(tmp_path / name))
    with pytest.raises(SpecError, match="aloha, droid, libero"):
        layout("alhoa")


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in ((48, 64, 3), (64, 48, 3), (5, 7, 3), (30, 30, 3))]


@pytest.mark.parametrize("picture", pictures(), ids=lambda each: "x".join(map(str, each.shape)))
def test_pictures_are_as_pillow_makes_them_with_and_without_it(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openpi's clients resize with Pillow: the shape is kept, the rest is black."""
    pillow = pytest.importorskip("PIL.Image")
    ratio = max(picture.shape[0] / 24, picture.shape[1] / 20)
    height, width = (int(length / ratio) for length in picture.shape[:2])
    expected = np.zeros((24, 20, 3), int)
    top, left = (24 - height) // 2, (20 - width) // 2
    small = pillow.fromarray(picture).resize((width, height), pillow.Resampling.BILINEAR)
    expected[top : top + height, left : left + width] = np.asarray(small)
    assert (resized(picture, (24, 20)) == expected).all()
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert np.abs(resized(picture, (24, 20)) - expected).max() <= 1


@pytest.mark.parametrize("size", [(10, 10), (48, 64), (200, 100)])
def test_without_pillow_one_colour_stays_one_colour(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    grey = np.full((48, 64, 3), 77, np.uint8)
    assert set(np.unique(resized(grey, size))) <= {0, 77}
    assert resized(grey, size).shape == (*size, 3)
    assert (layouts._taps(64, 10)[1].sum(1) == pytest.approx(1)) is True
