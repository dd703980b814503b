"""names: what samplers and schedules the model in the box has, told without loading them."""

__all__ = ["SAMPLER_NAMES", "SCHEDULE_NAMES"]

SAMPLER_NAMES = (
    "Euler",
    "Euler a",
    "Heun",
    "LMS",
    "DPM2",
    "DPM++ 2M",
    "DPM++ SDE",
    "DPM++ 2M SDE",
    "DDIM",
)
SCHEDULE_NAMES = ("Karras", "Normal", "Exponential", "SGM Uniform", "Simple", "Beta")
