"""LeRobot's own policy classes and processors with random weights, small enough for two cores and without the hub.

SmolVLA reads its vision-language model's configuration and processor from a folder, here of a tiny one, so that every
process can open its checkpoint. For pi0 and pi0.5
only sizes are changed, where their code asks for them and hands them to the real classes of transformers: two layers,
a vocabulary of 64 words, a width of 48 for the language model (2048 otherwise, 1.5 billion numbers in the embedding).
Weights are drawn anew with a spread that lets every part of the network matter: adaptive normalisation starts at zero.
"""

# pyright: reportMissingImports=false

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, SmolVLMConfig
from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
from transformers.models.smolvlm.processing_smolvlm import SmolVLMProcessor
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

STATE, ACTION, WIDTH, HORIZON, STEPS = 5, 4, 8, 12, 5
TOP = "observation.images.top"
FLOW = ("smolvla", "pi0", "pi05")
CLASSES = {"smolvla": "SmolVLA", "pi0": "PI0", "pi05": "PI05", "act": "ACT", "diffusion": "Diffusion"}


def statistics() -> dict[str, dict[str, torch.Tensor]]:
    """Of a data set: every dimension has its own."""
    statistics = {}
    for name, size in (("observation.state", STATE), ("action", ACTION)):
        at, spread = torch.linspace(-3, 40, size), torch.linspace(0.01, 5, size)
        low, high = at - 2 * spread, at + 3 * spread
        statistics[name] = {"mean": at, "std": spread, "min": low, "max": high, "q01": low, "q99": high}
    return statistics


def features() -> dict[str, Any]:
    """What every policy is shown and answers."""
    return {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (STATE,)),
            TOP: PolicyFeature(FeatureType.VISUAL, (3, 64, 64)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
        "device": "cpu",
    }


def module_of(name: str, kind: str) -> Any:
    return importlib.import_module(f"lerobot.policies.{name}.{kind}_{name}")


def tokenizer(folder: Path) -> None:
    """A tokenizer of a few words, in the processor of SmolVLA's language model."""
    words = ("<pad>", "<unk>", "put", "the", "cup", "away", "Task", "State", "Action")
    model = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = Whitespace()
    of_pictures = {"fake_image_token": "<fake>", "image_token": "<image>", "global_image_token": "<global-img>",
                   "video_token": "<video>"}  # fmt: skip
    made = PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", unk_token="<unk>", extra_special_tokens=of_pictures
    )
    SmolVLMProcessor(SmolVLMImageProcessor(), made, SmolVLMVideoProcessor()).save_pretrained(folder)


def tiny(name: str, folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> Any:
    """A policy of theirs, in evaluation, for nine words, a state, a picture and four actions."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer(folder)
    sizes: dict[str, Any] = {"chunk_size": HORIZON, "n_action_steps": HORIZON}
    match name:
        case "smolvla":
            sizes |= _smolvla(folder)
        case "pi0" | "pi05":
            sizes |= _pi(name, folder, patch)
        case "act":
            sizes |= {"dim_model": 16, "n_heads": 2, "dim_feedforward": 16, "n_encoder_layers": 1, "latent_dim": 4,
                      "n_vae_encoder_layers": 1, "pretrained_backbone_weights": None}  # fmt: skip
        case "diffusion":
            sizes = {"horizon": 16, "n_obs_steps": 2, "n_action_steps": 8, "down_dims": (16, 32), "n_groups": 4,
                     "pretrained_backbone_weights": None, "spatial_softmax_num_keypoints": 4, "crop_ratio": 1.0,
                     "diffusion_step_embed_dim": 16, "num_train_timesteps": 10, "use_film_scale_modulation": True,
                     "noise_scheduler_type": "DDIM", "num_inference_steps": STEPS}  # fmt: skip
    config = getattr(module_of(name, "configuration"), CLASSES[name] + "Config")(**features(), **sizes | settings)
    policy = getattr(module_of(name, "modeling"), CLASSES[name] + "Policy")(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return policy


def processors(name: str, config: Any) -> tuple[Any, Any]:
    """Their own pre- and postprocessor."""
    return getattr(module_of(name, "processor"), f"make_{name}_pre_post_processors")(config, statistics())


def _smolvla(folder: Path) -> dict[str, Any]:
    text = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 8}  # fmt: skip
    sizes: dict[str, Any] = {"scale_factor": 2, "image_token_id": 63, "pad_token_id": 0}
    SmolVLMConfig(text_config=text, vision_config=vision, **sizes).save_pretrained(folder)
    return {"vlm_model_name": str(folder), "num_vlm_layers": 2, "load_vlm_weights": False, "max_state_dim": WIDTH,
            "max_action_dim": WIDTH, "resize_imgs_with_padding": (32, 32), "num_steps": STEPS}  # fmt: skip


def _pi(name: str, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    module, width = module_of(name, "modeling"), {"gemma_2b": 48, "gemma_300m": 32}
    real, expert = module.PaliGemmaForConditionalGenerationWithPiGemma, module.PiGemmaForCausalLM

    def language_model(config: Any) -> Any:
        config.text_config.vocab_size, config.image_token_index = 64, 63
        config.projection_dim = config.vision_config.projection_dim = config.text_config.hidden_size
        for size, value in (("hidden_size", 16), ("intermediate_size", 32), ("patch_size", 8)):
            setattr(config.vision_config, size, value)
        config.vision_config.num_hidden_layers, config.vision_config.num_attention_heads = 1, 2
        return real(config)

    def action_expert(config: Any) -> Any:
        config.vocab_size = 64
        return expert(config)

    def sizes(variant: str) -> Any:
        return module.GemmaConfig(width[variant], depth=2, mlp_dim=64, num_heads=8, num_kv_heads=1, head_dim=16)

    patch.setattr(module, "PaliGemmaForConditionalGenerationWithPiGemma", language_model)
    patch.setattr(module, "PiGemmaForCausalLM", action_expert)
    patch.setattr(module, "get_gemma_config", sizes)
    reader = importlib.import_module("lerobot.processor.tokenizer_processor")
    read = reader.AutoTokenizer.from_pretrained
    patch.setattr(reader.AutoTokenizer, "from_pretrained", lambda _: read(folder))
    return {"max_state_dim": WIDTH, "max_action_dim": WIDTH, "image_resolution": (32, 32), "num_inference_steps": STEPS}
