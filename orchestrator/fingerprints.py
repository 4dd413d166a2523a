"""Content hashes of the code that makes a score: other code, other scores, other row."""

import hashlib
import importlib
from functools import cache
from importlib import metadata
from pathlib import Path

from recommenders import FAMILIES, load_family

EXECUTION = ("orchestrator.execute", "orchestrator.fold")


@cache
def code_fingerprint(family: str) -> str:
    """A hash of `execute`, `scoring`, the family's file with those it stands on, and the versions of its libraries.

    NumPy and SciPy count for every family.
    """
    hasher = hashlib.blake2b(digest_size=8)
    scoring = sorted(_source("scoring").parent.glob("*.py"))
    ours = sorted(_closure(FAMILIES[family].partition(":")[0]))
    for file in (*map(_source, EXECUTION), *scoring, *map(_source, ours)):
        hasher.update(file.read_bytes())
    for library in ("numpy", "scipy", *load_family(family).libraries):
        hasher.update(f"{library}=={metadata.version(library)}".encode())
    return hasher.hexdigest()


def _closure(module: str) -> set[str]:
    """A module of `recommenders` and those of the package from which it takes names, and so on."""
    found, open_ends = {module}, [module]
    while open_ends:
        names = vars(importlib.import_module(open_ends.pop())).values()
        origins = {getattr(name, "__module__", None) or "" for name in names}
        new = {origin for origin in origins if origin.startswith("recommenders.")} - found
        found |= new
        open_ends += new
    return found


def _source(module: str) -> Path:
    file = importlib.import_module(module).__file__
    if file is None:
        raise ImportError(f"{module} has no source file to fingerprint")
    return Path(file)
