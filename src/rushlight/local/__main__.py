"""``python -m rushlight.local [ROLE …]``: an instance with these roles (none: only the servers) until a signal."""

from __future__ import annotations

import asyncio
import sys

from rushlight.errors import RushlightError
from rushlight.local.lifetime import serve
from rushlight.settings import Settings


def main() -> int:
    """Take the settings from the environment; 1 when the instance cannot start."""
    try:
        asyncio.run(serve(Settings.from_env(), sys.argv[1:]))
    except RushlightError as error:
        sys.stderr.write(f"rushlight: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
