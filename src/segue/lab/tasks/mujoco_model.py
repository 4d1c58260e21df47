"""MuJoCo environments without compiling the same model again, and pictures of them."""

import copy
import importlib
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.errors import SegueError

HEIGHT, WIDTH = 240, 320

_compiled: dict[Any, Any] = {}


def build(environment: Any) -> Any:
    """An instance of a gymnasium MuJoCo environment class; only the first of a class reads its XML and meshes."""
    mujoco = importlib.import_module("mujoco")

    instance = environment.__new__(environment)
    known = _compiled.get(environment)
    if known is not None:

        def initialize() -> tuple[Any, Any]:
            model = copy.copy(known)
            return model, mujoco.MjData(model)

        instance._initialize_simulation = initialize
    instance.__init__()
    if known is None:
        # The environments write object positions into their model, so every instance needs its own
        _compiled[environment] = copy.copy(instance.model)
    return instance


def clear(environment: Any) -> None:
    """Forget everything that an earlier episode left in the simulation's state, the solver's warm start included."""
    importlib.import_module("mujoco").mj_resetData(environment.model, environment.data)


def touching(environment: Any, one: str, other: str) -> bool:
    """Whether two bodies, or what they are parts of, are in contact."""
    model, data = environment.model, environment.data
    root = model.body_rootid
    wanted = {int(root[model.body(one).id]), int(root[model.body(other).id])}
    bodies = (model.geom_bodyid[contact.geom] for contact in data.contact)
    return any({int(root[first]), int(root[second])} == wanted for first, second in bodies)


class Camera:
    """Pictures of one simulation from one of its model's cameras; the renderer is made for the first of them."""

    def __init__(self, environment: Any, name: str) -> None:
        self._model, self._data, self._name = environment.model, environment.data, name
        self._renderer: Any = None

    def picture(self) -> NDArray[np.uint8]:
        """A rendering of the present state. Shape (240, 320, 3).

        Raises:
            SegueError: Nothing on this machine can render.
        """
        if self._renderer is None:
            self._renderer = _renderer(self._model)
        self._renderer.update_scene(self._data, self._name)
        return self._renderer.render().copy()


def _renderer(model: Any) -> Any:
    mujoco = importlib.import_module("mujoco")

    if sys.platform == "linux" and mujoco.gl_context.GLContext.__module__.endswith("glfw") and not _display():
        # Without a display, glfw would not raise but abort the process
        raise _cannot_render("neither MUJOCO_GL nor a display is set")
    try:
        return mujoco.Renderer(model, HEIGHT, WIDTH)
    except Exception as error:  # the graphics libraries raise anything, down to ctypes and attribute errors
        raise _cannot_render(str(error)) from error


def _display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _cannot_render(reason: str) -> SegueError:
    return SegueError(
        f"no picture of the simulation: {reason}",
        "an OpenGL context",
        "set MUJOCO_GL=egl (or osmesa) before Python starts; the simulation itself needs no picture",
    )
