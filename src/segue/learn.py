"""The learning wing in one import: demonstrations, strategies, policies, predictors, training. Needs ``segue[learn]``.

from segue.learn import Legato, Recipe, load_episodes, train_policy
"""

from segue.data import bundled
from segue.data.episodes import Episodes
from segue.data.episodes import load as load_episodes
from segue.data.episodes import save as save_episodes
from segue.data.lerobot.writer import save as save_lerobot
from segue.methods.contrasted import Contrasted
from segue.methods.methods import Method, method, objective
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, refine
from segue.policies.chunk_policy import ContinuingPolicy, FinishedPolicy
from segue.policies.families import config_for, policy_for
from segue.policies.noise import CarriedNoise, FreshNoise
from segue.policies.predictors.predictor import CommandedState, PredictivePolicy
from segue.strategies.bid import BID
from segue.strategies.blend import CrossFade, TemporalEnsembling
from segue.strategies.faster import FASTER
from segue.strategies.flow import Field, Step, estimate, integrate
from segue.strategies.hooks import Hooks, Prefix, Strategy, no_weights, nothing_known
from segue.strategies.legato import Legato, LegatoObjective
from segue.strategies.naive import FlowMatching, Naive
from segue.strategies.reuse_then_refine import Anchor, Executed, ReuseThenRefine
from segue.strategies.rtc import RTC
from segue.strategies.training_time_rtc import TrainingTimeRTC
from segue.training.autoencoder import AutoencoderTraining, train_autoencoder
from segue.training.checkpoint import load
from segue.training.config import Conduct, TrainingConfig
from segue.training.context_predictor import train_context_predictor
from segue.training.correction.residual import CorrectionTraining, load_correction, train_correction
from segue.training.curve import read as read_curve
from segue.training.predictor import PredictorTraining, load_predictor, train_predictor
from segue.training.recipe import Recipe, train_policy

__all__ = [
    "BID", "FASTER", "RTC", "Anchor", "AutoencoderConfig", "AutoencoderTraining", "CarriedNoise", "CommandedState",
    "Conduct", "ContinuingPolicy", "Contrasted", "CorrectionTraining", "CrossFade", "Episodes", "Executed", "Field",
    "FinishedPolicy", "FlowMatching", "FreshNoise", "Hooks", "Legato", "LegatoObjective", "Method", "Naive",
    "PredictivePolicy", "PredictorTraining", "Prefix", "Recipe", "ReuseThenRefine", "Step", "Strategy",
    "TemporalEnsembling", "TrainingConfig", "TrainingTimeRTC", "bundled", "config_for", "estimate", "integrate", "load",
    "load_correction", "load_episodes", "load_predictor", "method", "no_weights", "nothing_known", "objective",
    "policy_for", "read_curve", "refine", "save_episodes", "save_lerobot", "train_autoencoder",
    "train_context_predictor", "train_correction", "train_policy", "train_predictor",
]  # fmt: skip
