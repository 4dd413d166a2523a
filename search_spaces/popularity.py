"""Where `popularity` is looked for: how soon yesterday's sales are forgotten."""

from search_spaces.space import Choice, Space

SPACE: Space = {
    # Around the 30 days that Microsoft's SAR decays by (time_decay_coefficient): a week, a month, a quarter, half a
    # year, a year; None is popularity of all time.
    "half_life_days": Choice((None, 7.0, 14.0, 30.0, 90.0, 180.0, 365.0)),
}
