"""shaping_arguments: with which of its arguments a ComfyUI server may draw other pixels."""

from __future__ import annotations

__all__ = ["shaping_arguments"]

_HARMLESS = (
    "--listen", "--port", "--tls-", "--enable-cors-header", "--max-upload-size", "--auto-launch",
    "--disable-auto-launch", "--output-directory", "--temp-directory", "--input-directory",
    "--user-directory", "--preview-", "--front-end-", "--verbose", "--log-stdout", "--cache-",
    "--enable-compress-response-body", "--disable-api-nodes", "--multi-user", "--dont-print-server",
    "--windows-standalone-build", "--disable-metadata", "--database-url", "--enable-manager",
    "--disable-manager", "--disable-progress", "--reserve-vram", "--async-offload", "--comfy-api-",
)  # fmt: skip
"""How options begin that cannot change a picture: where it listens, what it shows and saves."""


def shaping_arguments(arguments: object) -> list[str]:
    """Return those of a server's command line that may change pixels, each with its values.

    Args:
        arguments: What ``/system_stats`` has as ``argv``; anything but a list has none.
    """
    kept: dict[str, None] = {}
    option: list[str] = []
    words = [str(word) for word in arguments[1:]] if isinstance(arguments, list) else []
    for word in (*words, "--"):
        if not word.startswith("--"):
            option.append(word)
            continue
        if option and not option[0].startswith(_HARMLESS):
            kept[" ".join(option)] = None
        option = [word]
    return sorted(kept)
