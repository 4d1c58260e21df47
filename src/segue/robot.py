"""The robot wing in one import: what decides, what may be sent, how a policy is reached, what happened. NumPy only.

from segue.robot import Executor, JointLimits, Ladder, Plan, RemotePolicy
"""

from segue.core.chunk import Array, ChunkPolicy, Continuation, nothing_to_continue
from segue.core.correction import Correction
from segue.core.dimensions import Dimensions
from segue.core.metrics import METRICS, EpisodeRecord, episode_metrics
from segue.core.observation import Observation
from segue.core.robot import Outcome, Robot, RobotSpec, Simulator, check_robot
from segue.core.smoothness import jerk
from segue.core.spec import PolicySpec
from segue.links.address import Address
from segue.links.client import RemotePolicy
from segue.links.process import ProcessLink
from segue.links.server import PolicyServer, running, serve_until
from segue.methods import policy_process
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Event, Handover, Plan, Request
from segue.runtime.clock import MonotonicClock
from segue.runtime.executor import Executor
from segue.runtime.operated import Wish
from segue.safety.ladder import Ladder
from segue.safety.limits import JointLimits
from segue.trace.file import TraceWriter, plan_header
from segue.trace.file import read as read_trace

__all__ = [
    "METRICS", "Address", "Array", "ChunkPolicy", "Continuation", "Correction", "Dimensions", "EpisodeRecord", "Event",
    "Executor", "Handover", "JointLimits", "Ladder", "MonotonicClock", "Observation", "Outcome", "Plan",
    "PolicyServer", "PolicySpec", "ProcessLink", "RemotePolicy", "Request", "Robot", "RobotSpec", "Simulator",
    "TraceWriter", "WindowQuantile", "Wish", "check_robot", "episode_metrics", "jerk", "nothing_to_continue",
    "plan_header", "policy_process", "read_trace", "running", "serve_until",
]  # fmt: skip
