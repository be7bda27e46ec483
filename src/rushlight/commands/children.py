"""Short-lived children for what the lean supervisor process should not load for good."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Literal

from rushlight.errors import SetupError
from rushlight.local import Instance
from rushlight.settings import ENV_WHOLE

KEY_SECONDS = 30


def make_key(instance: Instance, kind: Literal["public", "secret"]) -> str:
    """A fresh write key of the default shop.

    Raises:
        SetupError: when it cannot be made.
    """
    made = subprocess.run(
        [sys.executable, "-P", "-m", "rushlight.commands.fresh_key", kind],
        env={**os.environ, ENV_WHOLE: instance.settings.to_json()},
        capture_output=True,
        text=True,
        timeout=KEY_SECONDS,
        check=False,
    )
    if made.returncode:
        raise SetupError(f"no write key could be made: {made.stderr.strip()[-300:]}")
    return made.stdout.strip()
