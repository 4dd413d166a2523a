"""One search: asks for configurations in generations, and learns from their scores. Optuna does the sampling.

The same asks follow from the same seed and the same tells, which is what lets `--resume` rebuild a study by replay.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from orchestrator.trial import StudyKey, canonical_json, digest
from search_spaces.space import Choice, Float, Int, Space

MAX_DUPLICATES = 20
"""Suggestions in a row that were tried before, after which a study counts as exhausted."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Asked:
    """A configuration that a study wants to know the score of."""

    number: int
    params: Mapping[str, Any]
    """The canonical parameters: every field of the family's config."""
    origin: str
    """`default` or `sampler`."""


class Study:
    """A family's search in one scope: the default first, alone, then generations from a TPE sampler.

    TPE: Bergstra et al. 2011; multivariate with a constant liar, as Optuna 5 does it.
    """

    def __init__(self, key: StudyKey, space: Space, defaults: Mapping[str, Any], *, seed: int, trials: int) -> None:
        self.key = key
        self.asked = 0
        self.exhausted = False
        self._trials = trials
        self._defaults = defaults
        self._distributions = {name: _distribution(bounds) for name, bounds in space.items()}
        sampler = optuna.samplers.TPESampler(seed=int(digest([seed, str(key)]), 16) % 2**32)
        self._optuna = optuna.create_study(direction="maximize", sampler=sampler)
        self._optuna.enqueue_trial({name: defaults[name] for name in space})
        self._open: dict[int, optuna.Trial] = {}
        self._tried: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether nothing is left to ask."""
        return self.exhausted or self.asked >= self._trials

    def ask(self, most: int) -> list[Asked]:
        """The next generation, of at most `most` trials: the default alone at first; empty when nothing is left."""
        generation: list[Asked] = []
        size = 1 if self.asked == 0 else min(most, self._trials - self.asked)
        while len(generation) < size and not self.exhausted:
            asked = self._ask_one()
            if asked is None:
                self.exhausted = True
            else:
                generation.append(asked)
        return generation

    def tell(self, number: int, score: float | None) -> None:
        """The score of an asked trial; None is a failure, and is told as one."""
        trial = self._open.pop(number)
        if score is None:
            self._optuna.tell(trial, state=TrialState.FAIL)
        else:
            self._optuna.tell(trial, score)

    def _ask_one(self) -> Asked | None:
        for _ in range(MAX_DUPLICATES):
            trial = self._optuna.ask(self._distributions)
            params = {**self._defaults, **trial.params}
            spelled = canonical_json(params)
            if spelled not in self._tried:
                self._tried.add(spelled)
                number = self.asked
                self._open[number] = trial
                self.asked += 1
                return Asked(number, params, "default" if number == 0 else "sampler")
            self._optuna.tell(trial, state=TrialState.FAIL)
        return None


def _distribution(bounds: Int | Float | Choice) -> BaseDistribution:
    match bounds:
        case Int(low, high, log):
            return IntDistribution(low, high, log=log)
        case Float(low, high, log):
            return FloatDistribution(low, high, log=log)
        case Choice(values):
            return CategoricalDistribution(values)
