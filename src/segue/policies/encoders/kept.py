"""What a frozen encoder says of the pictures of demonstrations: asked once, and kept beside decoded pictures.

    pictures, weights, how they are prepared --> SHA-256 --> pictures/<key>/0.raw, mapped: (pictures, width)
                                                 not there, or cut: each picture is encoded, once

All pictures of a recording are encoded, whichever of its episodes are learned from, so that every share that is held
out finds them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from segue.data.kept.decoded import Room, key_of
from segue.data.pictures import Pictures
from segue.policies.encoders.pretrained import Pretrained
from segue.policies.policy import Units, fingerprint

BATCH = 64
"""Pictures that are encoded at a time."""


@dataclass(frozen=True, eq=False)
class Said:
    """What was said of the pictures of one camera, by frame.

    Attributes:
        store: Shape (any, width).
        rows: Shape (frames,): where in the store that of each frame is.
    """

    store: NDArray[np.float32]
    rows: NDArray[np.int64]

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        return self.store[self.rows[index]]


def seen_by(
    units: Units, pictures: Mapping[str, Pictures], console: Console | None = None
) -> Mapping[str, Pictures | Said]:
    """By camera, what a policy is shown in training: what its frozen encoder says of the pictures, or these themselves.

    The pictures stay where the encoder is trained too, where they are cut out anywhere, and where there is no room.

    Args:
        units: Of the policy, on the device that encodes.
        pictures: By camera.
        console: Where progress is shown; None for nowhere.
    """
    encoder = units.frozen
    if encoder is None:
        return pictures
    decides = {"backbone": fingerprint(encoder.backbone), **encoder.made_of}
    return {name: _said(encoder, each, units.device, decides, console) or each for name, each in pictures.items()}


def _said(
    encoder: Pretrained, pictures: Pictures, device: torch.device, decides: Mapping[str, Any], console: Console | None
) -> Said | None:
    store, content = Pictures.of(pictures.store), hashlib.sha256()
    for part in store.parts():
        content.update(part.tobytes())
    shape = len(store), encoder.width
    room = Room(key_of([], **decides, pictures=content.hexdigest(), shape=store.store.shape), {"": shape}, np.float32)
    if room.stores is None:
        return None
    said = room.stores[""]
    if not room.whole:
        starts, shown = range(0, len(store), BATCH), console or Console(quiet=True)
        with torch.no_grad():
            for start in track(starts, f"features of {len(store)} pictures", console=shown, disable=shown.quiet):
                batch = torch.as_tensor(store[start : start + BATCH], device=device)
                said[start : start + BATCH] = encoder.said([batch])[0].cpu().numpy()
        room.keep()
    return Said(said, pictures.rows)
