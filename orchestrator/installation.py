"""Whether the packages that are imported are ours: another distribution owns the name `recommenders` on the index."""

import importlib
from importlib.util import find_spec
from pathlib import Path

from orchestrator.errors import InputError

OURS = {"recommenders": "FAMILIES", "search_spaces": "SPACES", "scoring": "__doc__"}
"""package -> a name that it defines."""


def check_packages() -> None:
    """Refuse to go on with somebody else's package; InputError says how to mend it."""
    home = Path(__file__).resolve().parent.parent
    for package, name in OURS.items():
        found = find_spec(package)
        where = Path(found.origin or "").resolve().parent if found else None
        if where != home / package or not hasattr(importlib.import_module(package), name):
            raise InputError(
                f"the package `{package}` must be the one of orchestrate-recsys, but {where} is another; mend it with: "
                f"pip uninstall -y {package}; pip install --force-reinstall --no-deps orchestrate-recsys"
            )
