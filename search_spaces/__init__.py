"""Where each family's hyperparameters are looked for, one file a family, each bound with its source."""

import importlib

from search_spaces.space import Space

SPACES: dict[str, str] = {
    name: f"search_spaces.{name}:SPACE"
    for name in (
        "popularity",
        "repeat",
        "trending",
        "sar",
        "item_knn",
        "als",
        "bpr",
        "lmf",
        "ease",
        "rp3beta",
        "lightfm",
    )
}
"""family -> "module:attribute"."""


def load_space(family: str) -> Space:
    """The search space of a family; KeyError for an unknown name."""
    module, _, attribute = SPACES[family].partition(":")
    space: Space = getattr(importlib.import_module(module), attribute)
    return space
