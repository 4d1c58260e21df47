"""Push-T from pixels: train a policy that sees the board, then let it push once, its chunks four steps late.

Two human episodes are drawn and learned from here, in seconds and in vain: `segue train push-t-pixels` draws all 206
and trains for some ten minutes, see docs/vision.md.

    python examples/06_look_at_pictures.py [updates] [episodes]
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from segue.lab import recipe_for
from segue.lab.tasks.push_t_pixels import PushTPixels, drawn
from segue.learn import ContinuingPolicy, Legato, LegatoObjective, bundled, train_policy
from segue.robot import Plan, WindowQuantile

DELAY = 4


def main(updates: int, count: int) -> None:
    recorded = bundled.push_t()
    some = recorded.select(list(range(count)))
    episodes = drawn(some, bundled.push_t_states()[: some.frames])
    print(f"{episodes.frames} frames; cameras (height, width): {episodes.cameras}")
    recipe = recipe_for("push-t-pixels")
    recipe = replace(recipe, updates=updates, training=replace(recipe.training, batch=32, own_refresh=100))
    with tempfile.TemporaryDirectory() as folder:
        policy = train_policy(episodes, recipe, "legato", LegatoObjective(), run=Path(folder))
    chunks, robot = ContinuingPolicy(policy, Legato()), PushTPixels()  # observes an `Observation`: state and pictures
    plan = Plan(32, 2, execution_horizon=8, delay=WindowQuantile(initial=DELAY))
    arriving = {}
    for step in range(40):
        if step in arriving:
            plan.deliver(*arriving.pop(step))
        if request := plan.request():
            arriving[step + DELAY] = request, chunks.next_chunk(robot.observe(), request.continuation)
        tick = plan.tick()
        robot.hold() if tick.action is None else robot.send(tick.action)
    print(f"score after 4 s: {robot.outcome().score:.2f}")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(updates=given[0] if given else 40, count=given[1] if len(given) > 1 else 2)
