"""``python -m safelight`` is ``safelight``."""

from safelight.cli import main

if __name__ == "__main__":
    main(prog_name="safelight")
