"""server_settings: which of a web UI's own settings shape pictures, and what they are now.

A server answers ``/sdapi/v1/options`` with hundreds of settings. Those that can only change how
its page looks, where it saves and what it logs are passed over by name; everything else counts,
also what extensions added, because nobody can know what they do.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from safelight.backends.webui.dialects import SDCPP, Dialect, Model
from safelight.pipeline.backend import EngineSetup, Named

__all__ = ["joined", "server_setup", "shaping_settings", "untold_knobs"]

_KNOWN = {"eta_noise_seed_delta": "ENSD", "randn_source": "RNG"}
"""Settings that records tell by their infotext name, beside the hash of all."""

_IN_TEXTS: Mapping[str, tuple[str, Any]] = MappingProxyType({
    "eta_noise_seed_delta": ("ENSD", 0), "randn_source": ("RNG", "GPU"),
    "token_merging_ratio": ("Token merging ratio", 0),
    "token_merging_ratio_hr": ("Token merging ratio hr", 0),
    "s_min_uncond": ("NGMS", 0), "s_min_uncond_all": ("NGMS all steps", False),
    "skip_early_cond": ("Skip Early CFG", 0), "s_churn": ("Sigma churn", 0),
    "s_tmin": ("Sigma tmin", 0), "s_tmax": ("Sigma tmax", 0), "s_noise": ("Sigma noise", 1),
    "sigma_min": ("Schedule min sigma", 0), "sigma_max": ("Schedule max sigma", 0),
    "rho": ("Schedule rho", 0), "sd_noise_schedule": ("Noise Schedule", "Default"),
    "always_discard_next_to_last_sigma": ("Discard penultimate sigma", False),
    "sgm_noise_multiplier": ("SGM noise multiplier", False),
    "uni_pc_variant": ("UniPC variant", "bh1"), "uni_pc_order": ("UniPC order", 3),
    "uni_pc_skip_type": ("UniPC skip type", "time_uniform"),
    "uni_pc_lower_order_final": ("UniPC lower order final", True),
    "pad_cond_uncond": ("Pad conds", False), "pad_cond_uncond_v0": ("Pad conds v0", False),
    "emphasis": ("Emphasis", "Original"), "tiling": ("Tiling", False),
    "use_old_scheduling": ("Old prompt editing timelines", False),
    "use_downcasted_alpha_bar": ("Downcast alphas_cumprod", False),
    "fp8_storage": ("FP8 weight", "Disable"), "sd_vae_decode_method": ("VAE Decoder", "Full"),
    "sd_vae_encode_method": ("VAE Encoder", "Full"),
    "initial_noise_multiplier": ("Noise multiplier", 1), "img2img_extra_noise": ("Extra noise", 0),
})  # fmt: skip
"""Option -> what a text calls it, and the value with which AUTOMATIC1111 1.10 leaves it out."""

_IN_NO_TEXT: Mapping[str, Any] = MappingProxyType({
    "upcast_attn": False, "comma_padding_backtrack": 20, "enable_batch_seeds": False,
    "use_old_emphasis_implementation": False, "use_old_karras_scheduler_sigmas": False,
    "no_dpmpp_sde_batch_determinism": False, "use_old_hires_fix_width_height": False,
    "hires_fix_use_firstpass_conds": False, "face_restoration": False,
    "img2img_color_correction": False, "img2img_fix_steps": False,
})  # fmt: skip
"""Option that changes pixels and that no text tells -> its value where nobody touched it."""

_MODEL = ("sd_model_checkpoint", "sd_checkpoint_hash")
_HARMLESS = re.compile(
    r"^(add_|api_|auto_launch|compact_prompt|dataset_|deepbooru_|dimensions_|directories_|"
    r"disable_token_|do_not_show|dump_|enable_console|enable_pnginfo|enable_reloading|"
    r"enable_upscale_progress|export_for|extra_networks_(?!default_multiplier)|extra_options_|"
    r"font$|gallery_|gradio_|grid_|hidden_|hide_|include_styles_into|infotext_|interrogate_|"
    r"interrupt_|jpeg_|js_|keyedit_|list_hidden|live_preview|localization|memmon_|multiple_tqdm|"
    r"n_rows|notification|open_dir|outdir_|print_|prevent_screen|profiling_|quick_?setting|"
    r"restore_config_state|return_|samplers_in_dropdown|samples_|save_|sd_checkpoint_dropdown|"
    r"sd_checkpoints?_(cache|limit|keep)|sd_webui_|send_|set_scale_by|settings_in_ui|show_|"
    r"stealth_|styles|tabs_|temp_dir|textual_inversion_|theme|training_|ui_|unload_models|"
    r"upscaling_max_images|use_original_name|use_save_to|use_upscaler_name|webp_|clean_temp|"
    r"img_(downscale|max_size)|img2img_(batch_show|batch_use|inpaint_mask_|inpaint_sketch|"
    r"settings|sketch)|hires_button|hires_fix_show|forge_canvas|forge_(async|pin|inference)|"
    r"target_side)|(_dir|_explanation|_accordion|_[ti]2i_(\w*)(width|height|cfg))$"
)
_SECRET = re.compile(r"token|password|secret|api_?key", re.IGNORECASE)


def shaping_settings(
    options: Mapping[str, Any], overridden: Collection[str], *, has_text: bool
) -> dict[str, Any]:
    """Return the settings that shape a picture and that its text does not tell.

    Args:
        options: All of the server's, as they were before the run.
        overridden: Those that the request sets itself.
        has_text: Whether the picture came with a text; what it can tell, it has told then.

    Returns:
        Name, as a text has it where one can -> value; those that nobody touched are left out.
    """
    spelled = {name: (name, usual) for name, usual in _IN_NO_TEXT.items()}
    if not has_text:
        spelled |= _IN_TEXTS
    return {
        name_there: _spelled(options[name])
        for name, (name_there, usual) in spelled.items()
        if name not in overridden and options.get(name, usual) not in (usual, None)
    }


def _spelled(value: Any) -> str:
    """Return *value* as a text has it: options hold whole numbers as fractions."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def untold_knobs(options: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return the knobs that *options* tell of a picture that came without a text."""
    names = {"model": _MODEL[0]} if dialect.tells_nothing or dialect.vae != "sd_vae" else {
        "model": _MODEL[0], "vae": dialect.vae}  # fmt: skip
    knobs = {knob: str(options[name]) for knob, name in names.items() if options.get(name)}
    skipped = options.get("CLIP_stop_at_last_layers")
    return {**knobs, "clip_skip": int(skipped)} if isinstance(skipped, (int, float)) else knobs


def server_setup(
    address: str,
    dialect: Dialect,
    options: Mapping[str, Any] | None,
    models: Sequence[Model],
    loras: Iterable[Mapping[str, Any]],
    named: Named,
) -> EngineSetup:
    """Return what the pictures of one server depend on.

    Args:
        address: Where it listens.
        dialect: What it is.
        options: Its settings; None when it does not tell them.
        models: The checkpoints that it lists.
        loras: The LoRAs that it lists.
        named: The files that the run's variants name.
    """
    facts: dict[str, Any] = {"address": address, "dialect": dialect.name}
    if dialect.tells_nothing:
        return EngineSetup(facts=facts, untold=("its settings",))
    if dialect is SDCPP:
        # It is started with a model, a VAE and a source of noise, and answers with the model.
        return EngineSetup(facts=facts, untold=("its VAE", "its random numbers", "its clip skip"))
    if not options:
        return EngineSetup(facts=facts, untold=("its settings",))
    skip = "CLIP_stop_at_last_layers" if dialect.clip_skip[0] == "option" else "clip_skip"
    places = {"model": _MODEL[0], "vae": dialect.vae or "sd_vae", "clip_skip": skip}
    left_out = {*_MODEL, *places.values()}
    defaults = {knob: options[name] for knob, name in places.items() if name in options}
    if dialect.vae not in ("", "sd_vae"):  # Forge has both
        defaults["vae"] = [options.get("sd_vae"), options.get(dialect.vae)]
        left_out.add("sd_vae")
    facts |= {fact: options[name] for name, fact in _KNOWN.items() if name in options}
    facts["options"] = {
        name: value
        for name, value in sorted(options.items())
        if name not in left_out and not _HARMLESS.search(name) and not _SECRET.search(name)
    }
    contents = {
        "model": _model_hashes(models, named.get("model", ()), options),
        "lora": _lora_hashes(loras, named.get("lora", ())),
    }
    return EngineSetup(facts=facts, defaults=defaults, contents=contents)


def _model_hashes(
    models: Sequence[Model], names: Collection[str], options: Mapping[str, Any]
) -> dict[str, str]:
    default = str(options.get(_MODEL[0]) or "")
    hashes = {
        name: model.hash
        for name in (*names, default)
        for model in models
        if model.hash and model.is_called(name)
    }
    loaded = options.get(_MODEL[1])
    return hashes | {default: str(loaded)} if loaded else hashes


def _lora_hashes(loras: Iterable[Mapping[str, Any]], names: Collection[str]) -> dict[str, str]:
    """Return name -> a hash of what the server knows of the file; trainers put one of it there."""
    return {
        name: hashlib.sha256(json.dumps(entry["metadata"], sort_keys=True).encode()).hexdigest()
        for entry in loras
        for name in names
        if name in (entry.get("name"), entry.get("alias")) and entry.get("metadata")
    }


def joined(setups: Mapping[str, EngineSetup]) -> EngineSetup:
    """Return the setup of several servers that one engine draws on, whichever is free.

    Args:
        setups: Address -> setup, at least one.
    """
    first, *others = setups.values()
    if not others:
        return first
    without = [
        EngineSetup(
            facts={name: value for name, value in setup.facts.items() if name != "address"},
            defaults=setup.defaults, contents=setup.contents, untold=setup.untold,
        )
        for setup in setups.values()
    ]  # fmt: skip
    facts = {**first.facts, "address": " ".join(sorted(setups))}
    unknown = tuple(dict.fromkeys(what for setup in setups.values() for what in setup.untold))
    if any(setup != without[0] for setup in without):
        unknown = (*unknown, f"which of {', '.join(setups)} draws, which differ")
    return EngineSetup(
        facts=facts, defaults=first.defaults, contents=first.contents, untold=unknown
    )
