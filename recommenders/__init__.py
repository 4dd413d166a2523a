"""The families of recommenders, by name; a family's library is imported when the family is asked for."""

import importlib
from typing import Any

FAMILIES: dict[str, str] = {
    "popularity": "recommenders.popularity:Popularity",
    "repeat": "recommenders.repeat:Repeat",
    "trending": "recommenders.trending:Trending",
    "sar": "recommenders.sar:SAR",
    "item_knn": "recommenders.item_knn:ItemKNN",
    "als": "recommenders.als:ALS",
    "bpr": "recommenders.bpr:BPR",
    "lmf": "recommenders.lmf:LMF",
    "ease": "recommenders.ease:EASE",
    "rp3beta": "recommenders.rp3beta:RP3beta",
    "lightfm": "recommenders.lightfm_family:LightFMFamily",
}
"""family -> "module:class"."""


def load_family(name: str) -> Any:
    """The class of a family, a `recommenders.protocol.Recommender`.

    Raises KeyError for an unknown name, and `recommenders.protocol.FamilyNotInstalled` where its library is missing.
    """
    module, _, attribute = FAMILIES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
