"""Makes one name of the spellings of a name, and tells products from what else is booked as an item."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_WHOLE = r"^[+-]?\d+(\.0+)?$"
_MISSING = pa.array(["", "nan", "NaN", "null", "NULL", "None", "<NA>", "#N/A"])
_MOST = 0.95


@dataclass(frozen=True)
class Renaming:
    """Old codes to new ones, and the names behind the new ones in byte order."""

    codes: NDArray[np.int32]
    """(n_old + 1,) new code of each old one, -1 where the name is missing; the last place answers for code -1."""
    words: pa.Array

    def __call__(self, column: NDArray[np.int32]) -> NDArray[np.int32]:
        """A column of old codes as new codes."""
        return self.codes[column]


def tidy(words: pa.Array) -> Renaming:
    """Trimmed, sorted names; "17850.0" becomes "17850" where all names are whole numbers (a float read as text)."""
    names = pc.utf8_trim_whitespace(words)
    missing = pc.is_in(names, _MISSING)
    present = names.filter(pc.invert(missing))
    if len(present) and pc.all(pc.match_substring_regex(present, _WHOLE)).as_py():
        names = pc.replace_substring_regex(names, r"\.0+$", "")
    return _renaming(names, missing.to_numpy(zero_copy_only=False))


def fold_case(words: pa.Array, counts: NDArray[np.int64]) -> Renaming | None:
    """Names that differ only in case as one, spelled as most rows spell it; None where there are none.

    Where more than 1 in 20 names mix upper and lower case (as random ids do), case carries meaning and nothing is
    merged. `counts` (n_words,) are the rows of each name.
    """
    folded = pc.utf8_upper(words)
    groups = folded.dictionary_encode()
    if len(groups.dictionary) == len(words):
        return None
    mixed = pc.and_(pc.not_equal(words, folded), pc.not_equal(words, pc.utf8_lower(words)))
    if pc.mean(mixed).as_py() > 1 - _MOST:
        return None
    group = groups.indices.to_numpy(zero_copy_only=False)
    order = np.lexsort((np.arange(len(words)), -counts, group))  # in each group the most frequent spelling first
    firsts = order[np.flatnonzero(np.diff(group[order], prepend=-1))]
    return _renaming(words.take(pa.array(firsts[group])), np.zeros(len(words), dtype=np.bool_))


def non_products(words: pa.Array) -> NDArray[np.bool_]:
    """(n_words,) True for item codes that look like no product: postage, fees, discounts, manual bookings.

    Where nearly all codes have a digit, a code without any is none (POST, BANK CHARGES). Where moreover nearly all
    have the same number of digits, three or more, a code with a letter and less than half as many is none (C2).
    "Nearly all" is 95 in 100 of the distinct codes.
    """
    digits = pc.count_substring_regex(words, r"\d").to_numpy(zero_copy_only=False)
    if len(words) < 20 or np.mean(digits > 0) < _MOST:
        return np.zeros(len(words), dtype=np.bool_)
    lettered = pc.match_substring_regex(words, r"\pL").to_numpy(zero_copy_only=False)
    usual = int(np.bincount(digits).argmax())
    short = lettered & (2 * digits < usual) & bool(usual >= 3 and np.mean(digits == usual) >= _MOST)
    return np.asarray((digits == 0) | short, dtype=np.bool_)


def _renaming(names: pa.Array, missing: NDArray[np.bool_]) -> Renaming:
    """Codes of the distinct names that are not missing, in byte order."""
    encoded = pc.if_else(pa.array(missing), None, names).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order) + 1, dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    rank[-1] = -1
    codes = rank[encoded.indices.fill_null(len(order)).to_numpy(zero_copy_only=False)]
    return Renaming(np.append(codes, np.int32(-1)), encoded.dictionary.take(pa.array(order)))
