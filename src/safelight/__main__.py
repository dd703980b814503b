"""``python -m safelight`` is ``safelight``; both begin here."""

import os
import sys

_INTERRUPTED = 130


def start() -> None:
    """Carry out the command line, whose modules may be interrupted while they are imported."""
    try:
        from safelight.cli import main

        main(prog_name="safelight")
    except KeyboardInterrupt:
        os.write(2, b"stopped\n")  # what prints may not have been imported
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    start()
