"""Finds, for every country, the recommender to ship, and the proof that it is the right one."""

__version__ = "0.1.0"
