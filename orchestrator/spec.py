"""What a run is asked to do: typed, frozen, and the same whether it came from flags or from a YAML file."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from orchestrator.errors import InputError
from scoring.composite import DEFAULT_WEIGHTS, Composite

GLOBAL = "global"
"""The scope of all countries pooled; no country may bear this name."""

MAX_CUTOFF = 1000
"""The longest list that is scored."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(value: Any) -> Any:
    """Seconds from "90", "90s", "30m", "2h", "1h30m"; other types pass through to be checked by their field."""
    if not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", value.strip().lower())
    if not parts or "".join(number + unit for number, unit in parts) != value.strip().lower():
        raise ValueError(f"a duration must read like 90s, 30m or 1h30m, but got {value!r}")
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)


def parse_names(value: Any) -> Any:
    """A tuple of names, each once, from "a,b,c" or a list."""
    if isinstance(value, str):
        value = (name.strip() for name in value.split(",") if name.strip())
    return tuple(dict.fromkeys(value)) if isinstance(value, Iterable) else value


Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(gt=0)]
Names = Annotated[tuple[str, ...], BeforeValidator(parse_names), Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitSpec(_Section):
    """How interactions become train, validation folds and a test set."""

    method: Literal["auto", "temporal", "last", "random", "given"] = "auto"
    """`auto` is `given` where the files say it, else `temporal` where there is a time column, else `random`."""
    folds: int = Field(default=3, ge=1, le=50)
    """Validation folds."""
    window: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the rows in each validation window and in the test set (`temporal`, `random`)."""
    n_last: int = Field(default=1, ge=1)
    """Rows of a user in each validation fold and in the test set (`last`)."""


class EvaluationSpec(_Section):
    """Which users and items count, and at which cut-offs."""

    cutoffs: tuple[int, ...] = (5, 10, 20)
    """The K of every metric."""
    seen: Literal["auto", "allow", "exclude"] = "auto"
    """Whether items that a user already had may be recommended, and count; `auto` allows them where at least
    5 % of the rows are repeat purchases."""
    cold_users: Literal["fallback", "exclude"] = "fallback"
    """Users without training rows are served by popularity and counted, or left out of the scores."""
    cold_items: Literal["exclude", "miss"] = "exclude"
    """Items without training rows, which no family can recommend: left out of the truth, or counted as misses."""

    @field_validator("cutoffs")
    @classmethod
    def _ordered(cls, cutoffs: tuple[int, ...]) -> tuple[int, ...]:
        if not cutoffs or min(cutoffs) < 1 or max(cutoffs) > MAX_CUTOFF:
            raise ValueError(f"every cut-off must lie within 1..{MAX_CUTOFF}, but got {list(cutoffs)}")
        return tuple(sorted(set(cutoffs)))


class Spec(_Section):
    """One run of `orchestrate tune`; what flags can say, a YAML file can say in these fields."""

    data: str | None = None
    """A file, a folder or a URI; None generates a marketplace."""
    columns: Mapping[str, str] = Field(default_factory=dict)
    """role -> column, where the recognition must be overruled: user, item, time, country, price, …"""
    country: Names = ("all",)
    """The countries to answer for, or `all`."""
    family: Names = ("all",)
    """The families to try, or `all` that are installed."""
    trials: int = Field(default=20, ge=1)
    """The most configurations tried in a study."""
    generation: int = Field(default=8, ge=1)
    """Trials that a study asks at once."""
    budget_s: Seconds | None = Field(default=None, alias="budget")
    """The whole run's limit, from the start of the process to the printed leaderboard."""
    trial_timeout_s: Seconds | None = Field(default=None, alias="trial_timeout")
    """The limit of one trial over all its folds."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Everything random follows from it."""
    split: SplitSpec = SplitSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    composite: Mapping[str, float] = Field(default_factory=lambda: DEFAULT_WEIGHTS)
    """metric -> weight; the score is their weighted mean."""
    min_users: int = Field(default=20, ge=1)
    """A country with fewer evaluated users in any fold is not tuned but pooled."""
    finalists: int = Field(default=3, ge=1)
    """Families of each country that go to the test set, besides the best baseline."""
    engine: str = "local"
    workers: int | None = Field(default=None, ge=1)
    """Slots; None is one a core of this machine."""
    threads: int = Field(default=1, ge=1)
    """Threads of each task."""
    address: str | None = None
    """The Ray cluster to join; None starts one on this machine."""
    tracking_uri: str | None = None
    """An MLflow-API server, or sqlite:///FILE; None is the embedded store beside the run folders."""
    tracking_offline: bool = False
    """Ask no server at the start; `orchestrate sync` sends later."""
    name: str | None = None
    """The experiment's name on the tracking server; owner and run id are added."""
    runs: Path = Path("orchestrate-runs")
    """The folder that holds the run folders."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @field_validator("composite")
    @classmethod
    def _known_metrics(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        composite = Composite(weights)
        if max(composite.cutoffs) > MAX_CUTOFF:
            raise ValueError(f"every cut-off must be at most {MAX_CUTOFF}, but got {max(composite.cutoffs)}")
        return composite.weights

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any], source: str) -> Self:
        """A spec from nested settings; InputError, naming the source and the key, where they are wrong."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            raise InputError(_sentence(cls, error, source)) from error

    @property
    def scorer(self) -> Composite:
        """The composite that ranks."""
        return Composite(self.composite)

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """The cut-offs of the evaluation, and those that the composite asks for."""
        return tuple(sorted({*self.evaluation.cutoffs, *self.scorer.cutoffs}))


def load_settings(path: Path) -> dict[str, Any]:
    """The settings of a YAML file, unchecked; InputError where it cannot be read as a mapping."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config must name a readable YAML file, but {path} is not ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = str(error).replace("\n", " ")
        raise InputError(f"{path} must be YAML, but it is not: {where}") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path} must hold settings as `key: value`, but it holds {type(settings).__name__}")
    return settings


def merge(settings: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those flags on top that were given (are not None), section by section."""
    merged = dict(settings)
    for key, value in flags.items():
        if isinstance(value, Mapping):
            section = merged.get(key)
            below = merge(section if isinstance(section, Mapping) else {}, value)
            if below:
                merged[key] = below
        elif value is not None:
            merged[key] = value
    return merged


def _sentence(model: type[BaseModel], error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(path[-1], _keys(model, path[:-1]), n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(_keys(model, path[:-1]))}"
        return f"{source}: every key must be known, but got {key}{hint}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{source}: {key}: {message[0].lower()}{message[1:]} (got {first['input']!r})"


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = next(field.annotation for name, field in model.model_fields.items() if part in (name, field.alias))
        model = next(
            (t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, BaseModel)), model
        )
    return [field.alias or name for name, field in model.model_fields.items()]
