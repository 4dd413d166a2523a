"""Where `trending` is looked for: how long a trend lasts, and how much a user's own history weighs against it."""

from search_spaces.space import Choice, Float, Int, Space

SPACE: Space = {
    # As for `popularity`, and two months, the best of those tried on two XMRec markets (measured).
    "half_life_days": Choice((None, 7.0, 14.0, 30.0, 60.0, 90.0, 180.0, 365.0)),
    # 2 to 10 were best on three XMRec markets (measured); the ends are nearly popularity, and nearly the history alone.
    "taste": Float(0.1, 1000.0, log=True),
    # As for `sar`.
    "threshold": Int(1, 30, log=True),
}
