"""Flow networks of LeRobot as velocity fields of ours: SmolVLA, pi0 and pi0.5.

    encode    pictures, text, state --> keys and values, once
    velocity  -denoise_step(x, 1 - t)            their time runs from 1 (noise) to 0, their velocity is noise - action

What is called here are the parts that their own `sample_actions` is made of.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from segue.errors import UnknownNameError
from segue.integrations.lerobot.policies.units import Batch

Theirs: TypeAlias = Any
"""A policy of LeRobot, a `torch.nn.Module`; its classes cannot be named where it is not installed."""

TOKENS, TOKEN_MASK = "observation.language.tokens", "observation.language.attention_mask"
_MASKED = -2.3819763e38  # openpi's number for attention that must not be; the same in LeRobot


@dataclass(frozen=True)
class Encoded:
    """What is kept of an observation while its chunk is sampled.

    Attributes:
        present: Shape (batch, tokens): which of the tokens are no padding.
        cache: Keys and values of all layers.
        state: Shape (batch, state); for networks that see it beside the noisy actions, else None.
    """

    present: Tensor
    cache: Any
    state: Tensor | None = None


def visible(present: Tensor, blocks: Tensor) -> Tensor:
    """Which token attends to which: those of its own block and of earlier ones. Shape (batch, tokens, tokens).

    Args:
        present: Shape (batch, tokens): which are no padding.
        blocks: Shape (batch, tokens): 1 where a block begins, else 0.
    """
    number = blocks.cumsum(1)
    seen = number[:, None, :] <= number[:, :, None]
    return seen & (present[:, None, :] & present[:, :, None])


def encode_smolvla(theirs: Theirs, batch: Batch) -> Encoded:
    """Prefix of SmolVLA: pictures, text and state, in one block each as its network was trained."""
    pictures, shown = theirs.prepare_images(batch)
    model = theirs.model
    tokens, present, blocks = model.embed_prefix(
        pictures, shown, batch[TOKENS], batch[TOKEN_MASK], state=theirs.prepare_state(batch)
    )
    _, cache = model.vlm_with_expert.forward(
        attention_mask=visible(present, blocks), position_ids=present.cumsum(1) - 1, past_key_values=None,
        inputs_embeds=[tokens, None], use_cache=True,
    )  # fmt: skip
    return Encoded(present, cache)


def encode_pi0(theirs: Theirs, batch: Batch) -> Encoded:
    """Prefix of pi0; its state stands beside the noisy actions."""
    return _encode_pi(theirs, batch, theirs.prepare_state(batch))


def encode_pi05(theirs: Theirs, batch: Batch) -> Encoded:
    """Prefix of pi0.5, whose state is part of the text."""
    return _encode_pi(theirs, batch, None)


def _encode_pi(theirs: Theirs, batch: Batch, state: Tensor | None) -> Encoded:
    model = theirs.model
    pictures, shown = theirs._preprocess_images(batch)
    tokens, present, blocks = model.embed_prefix(pictures, shown, batch[TOKENS], batch[TOKEN_MASK])
    paligemma = model.paligemma_with_expert
    paligemma.paligemma.model.language_model.config._attn_implementation = "eager"  # takes masks of numbers as they are
    if paligemma.paligemma.model.language_model.layers[0].self_attn.q_proj.weight.dtype == torch.bfloat16:
        tokens = tokens.to(torch.bfloat16)
    _, cache = paligemma.forward(
        attention_mask=torch.where(visible(present, blocks)[:, None], 0.0, _MASKED),
        position_ids=present.cumsum(1) - 1, past_key_values=None, inputs_embeds=[tokens, None], use_cache=True,
    )  # fmt: skip
    return Encoded(present, cache, state)


@dataclass(frozen=True)
class Architecture:
    """What is to be known of a flow policy of LeRobot.

    Attributes:
        encode: Prefix of a batch.
        steps: Field of its configuration with the number of solver steps.
        per_position: The network is told its flow time position by position, by normalisation layers that can be given
            one for each.
    """

    encode: Callable[[Theirs, Batch], Encoded]
    steps: str
    per_position: bool = False


FLOW = {
    "smolvla": Architecture(encode_smolvla, steps="num_steps"),
    "pi0": Architecture(encode_pi0, steps="num_inference_steps"),
    "pi05": Architecture(encode_pi05, steps="num_inference_steps", per_position=True),
}
"""By the type that their configuration names."""


def architecture(theirs: Theirs) -> Architecture:
    """That of a policy of theirs.

    Raises:
        UnknownNameError: It is no flow policy, or one that is not known here.
    """
    name = str(theirs.config.type)
    if name not in FLOW:
        raise UnknownNameError("flow policy of LeRobot", name, FLOW)
    return FLOW[name]


def velocity(theirs: Theirs, x: Tensor, t: Tensor, encoded: Encoded) -> Tensor:
    """The flip: ``v(x, t) = -v'(x, 1 - t)``. Shape (batch, horizon, width), single precision.

    Args:
        theirs: Their policy.
        x: Noisy actions, shape (batch, horizon, their input's width).
        t: Our flow time, shape (batch,), or one per position in a row, (batch * horizon,), where the network takes it.
        encoded: Prefix.
    """
    beside = {} if encoded.state is None else {"state": encoded.state}
    model = theirs.model
    timestep = (1 - t).to(x.dtype)
    return -model.denoise_step(
        prefix_pad_masks=encoded.present, past_key_values=encoded.cache, x_t=x, timestep=timestep, **beside
    )
