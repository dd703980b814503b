"""Carries out commands one after the other in the folder that is given, and prints what became.

Each line of its input is a command; of its output, the exit status and what was printed, as JSON.
"""

from __future__ import annotations

import json
import os
import shlex
import sys

from command_line import call


def main() -> None:
    os.chdir(sys.argv[1])
    for line in sys.stdin.read().strip().splitlines():
        result = call(*shlex.split(line))
        print(json.dumps([line, result.exit_code, result.output]))


if __name__ == "__main__":
    main()
