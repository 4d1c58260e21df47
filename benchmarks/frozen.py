"""What an update of a policy with a frozen encoder costs: from pictures, and from what the encoder said of them once.

`python benchmarks/frozen.py`: a ResNet-18 of random weights, which cost what trained ones do.

On one thread, in seconds of the processor: those of the least of some updates each, which take turns.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from precision import FlowMatching, Recipe, TrainingConfig, episodes, policy_loss
from transformers import ResNetConfig, ResNetModel

from segue.training.data import DemonstratedChunks
from segue.training.fit import Descent

ROUNDS, BATCH = 3, 32
RESNET_18 = {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
STATISTICS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "size": 96}


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SEGUE_CACHE"] = folder
        ResNetModel(ResNetConfig(**RESNET_18)).save_pretrained(f"{folder}/backbone")
        Path(folder, "backbone/preprocessor_config.json").write_text(json.dumps(STATISTICS))
        settings = {"backbone": f"{folder}/backbone"}
        recipe = Recipe(vision={"encoder": "pretrained", "settings": settings, "crop": 1})
        shown, generator = episodes(pictures=True), torch.Generator().manual_seed(0)
        policy = recipe.policy(shown).train()
        descent = Descent(policy, policy.parameters(), policy_loss, TrainingConfig(batch=BATCH), fused=True)
        ways, least = {}, {}
        for way, room in (("from pictures", "0"), ("from what was kept", "1")):
            os.environ["SEGUE_PICTURES_GB"], started = room, time.process_time()
            ways[way], least[way] = DemonstratedChunks(shown, policy), np.inf
            print(f"{way}: {time.process_time() - started:.1f} s before the first update, {len(shown.action)} pictures")
        for number in range(ROUNDS):
            for way, chunks in ways.items():
                started = time.process_time()
                index = torch.randint(0, len(chunks), (BATCH,), generator=generator)
                pair = FlowMatching().pair(chunks.batch(index, policy, (4, 16), generator), generator)
                descent.step(number, pair, chunks.seen(index), 0.02, generator)
                least[way] = min(least[way], time.process_time() - started)
        for way, seconds in least.items():
            print(f"{way}: {1000 * seconds:.1f} ms an update of {BATCH}, {BATCH / seconds:.0f} samples a second")


if __name__ == "__main__":
    main()
