"""A board on which users of one colour take items of their colour: what a recommender must find.

Run as a program it prints, for each family, a digest of its lists, so that two processes can be compared.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

if __name__ == "__main__":  # else the test runner sees to it
    sys.path.insert(0, str(Path(__file__).parents[2]))

from recommenders import FAMILIES, load_family
from recommenders.protocol import FamilyNotInstalled, Interactions, TopK

N_USERS, N_ITEMS, COLOURS = 80, 40, 2
DAY_S = 86_400


def checkerboard(seed: int = 0, **more: Any) -> Interactions:
    """80 users and 40 items of two colours; each user has 14 of the 20 items of their colour, some of them twice.

    The idea is that of implicit's tests/recommender_base_test.py; here items differ in popularity as well.
    """
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(np.add.outer(np.arange(N_USERS), np.arange(N_ITEMS)) % COLOURS == 0)
    luck = rng.random(len(users)) * (1 + items / N_ITEMS)
    rank = np.empty(len(users), dtype=int)
    rank[np.lexsort((luck, users))] = np.tile(np.arange(N_ITEMS // COLOURS), N_USERS)
    users, items = users[rank < 14], items[rank < 14]
    again = rng.random(len(users)) < 0.2
    return interactions(np.concatenate([users, users[again]]), np.concatenate([items, items[again]]), **more)


def interactions(users: Any, items: Any, **more: Any) -> Interactions:
    """Rows a day apart, weights 1 and 2; items are recoded by falling number of rows, all users and items have one."""
    users, items = np.asarray(users), np.asarray(items)
    code = np.empty(items.max() + 1, dtype=np.int32)
    code[np.argsort(-np.bincount(items), kind="stable")] = np.arange(len(code))
    n = len(users)
    times = 1_600_000_000 + DAY_S * np.random.default_rng(1).permutation(n).astype(np.int64)
    weights = np.where(np.arange(n) % 5 == 0, 2, 1).astype(np.float32)
    shape = {"n_users": int(users.max()) + 1, "n_items": len(code)}
    return Interactions(users.astype(np.int32), code[items], times, weights, **shape, **more)


def colour_share(board: Interactions, lists: TopK, users: Any) -> float:
    """The share of recommended items that have the colour of their user."""
    colour = np.zeros(board.n_items, dtype=int)
    colour[board.items] = board.users % COLOURS
    return float((colour[lists.items] == np.asarray(users)[:, None] % COLOURS).mean())


def features(n: int) -> csr_array:
    """Two features of n rows, the second on every third row."""
    return csr_array(np.column_stack([np.ones(n), np.arange(n) % 3 == 0]).astype(np.float32))


def fitted(family: Any, board: Interactions, *, seed: int = 7, threads: int = 1, **config: Any) -> Any:
    """A family with its defaults, fitted."""
    return family(family.config_type(**config), seed=seed, threads=threads).fit(board)


def digest(lists: TopK) -> str:
    """A hash of every bit of the lists."""
    return hashlib.sha256(lists.items.tobytes() + lists.scores.tobytes() + lists.fallback.tobytes()).hexdigest()


def family_digest(name: str) -> str:
    """The digest of a family's lists for all users of the board, or why there is none."""
    board = checkerboard()
    try:
        model = fitted(load_family(name), board)
    except FamilyNotInstalled as error:
        return str(error)
    return digest(model.recommend(np.arange(-1, board.n_users), 10, exclude_seen=True))


if __name__ == "__main__":
    print(json.dumps({name: family_digest(name) for name in sys.argv[1:] or FAMILIES}))
