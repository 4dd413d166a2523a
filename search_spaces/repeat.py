"""Where `repeat` is looked for: how soon a user's own purchases are forgotten."""

from search_spaces.space import Choice, Space

SPACE: Space = {
    # As for `popularity`, around the 30 days of Microsoft's SAR; None is the plain personal frequency of Hu et al.,
    # SIGIR 2020.
    "half_life_days": Choice((None, 7.0, 14.0, 30.0, 90.0, 180.0, 365.0)),
}
