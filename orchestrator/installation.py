"""Whether the packages that are imported are ours: another distribution owns the name `recommenders` on the index."""

import importlib
from pathlib import Path

from orchestrator.errors import InputError

OURS = {"recommenders": "FAMILIES", "search_spaces": "SPACES", "scoring": "__doc__"}
"""package -> a name that it defines."""


def check_packages() -> None:
    """Refuse to go on with somebody else's package; InputError says how to mend it."""
    home = Path(__file__).resolve().parent.parent
    for package, name in OURS.items():
        found = importlib.import_module(package)
        where = Path(found.__file__ or "").resolve().parent
        if where != home / package or not hasattr(found, name):
            raise InputError(
                f"the package `{package}` must be the one of orchestrate-recsys, but {where} is another; mend it with: "
                f"pip uninstall -y {package}; pip install --force-reinstall --no-deps orchestrate-recsys"
            )
