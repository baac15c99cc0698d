"""Where the checkout is: the one thing that a stage asks the environment."""

import os
from pathlib import Path


def checkout() -> Path:
    """Return the checkout's root, also inside a stage that DVC runs in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
