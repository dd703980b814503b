"""safelight for ComfyUI: each executed prompt leaves a line for safelight; there are no nodes.

Whatever is wrong with it, ComfyUI starts and draws as without it.
"""

NODE_CLASS_MAPPINGS: "dict[str, type]" = {}
NODE_DISPLAY_NAME_MAPPINGS: "dict[str, str]" = {}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

try:
    from .executions import note_executions

    note_executions()
except Exception as problem:  # noqa: BLE001 - ComfyUI goes on without
    import logging

    logging.getLogger("safelight").warning(
        "safelight notes nothing here: %s: %s", type(problem).__name__, problem
    )
