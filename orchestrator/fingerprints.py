"""Content hashes of the code that makes a score: other code, other scores, other row."""

import hashlib
import importlib
from functools import cache
from importlib import metadata
from pathlib import Path

from recommenders import FAMILIES, load_family

SCORING_MODULES = ("orchestrator.execute", "orchestrator.fold", "recommenders.base", "recommenders.protocol")


@cache
def code_fingerprint(family: str) -> str:
    """A hash of `execute`, `scoring`, the family's file, and the versions of NumPy, SciPy and the family's libraries."""
    hasher = hashlib.blake2b(_scoring_source(), digest_size=8)
    module = FAMILIES[family].partition(":")[0]
    hasher.update(_source(module).read_bytes())
    for library in ("numpy", "scipy", *load_family(family).libraries):
        hasher.update(f"{library}=={metadata.version(library)}".encode())
    return hasher.hexdigest()


@cache
def _scoring_source() -> bytes:
    files = [_source(module) for module in SCORING_MODULES]
    files += sorted(_source("scoring").parent.glob("*.py"))
    return b"".join(file.read_bytes() for file in files)


def _source(module: str) -> Path:
    file = importlib.import_module(module).__file__
    if file is None:
        raise ImportError(f"{module} has no source file to fingerprint")
    return Path(file)
