"""What a search draws settings from: ranges and lists, as they are typed or as YAML has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.core.errors import UsageError, shown
from flambeau.core.files import parse_yaml, read_regular
from flambeau.core.settings import parse_setting

if TYPE_CHECKING:
    import optuna

EXPECTED = "a range such as 1e-4..1e-2:log, 3..10 or 0..0.5:0.1, or a list such as sgd,adamw"
NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
RANGE = re.compile(rf"{NUMBER}\.\.{NUMBER}(?::(log|{NUMBER}))?")
MOST_BYTES = 1 << 20

Space = Mapping[str, "Range | Choice"]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are. `log`: evenly by their logarithm."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    def draw(self, trial: optuna.Trial, name: str) -> Any:
        """A value for a trial."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    @property
    def ends(self) -> list[Any]:
        """Values that must fit."""
        return [self.low, self.high]

    @property
    def listed(self) -> list[Any] | None:
        """All of them; None where they are not to be counted."""
        step = self.step or (1 if isinstance(self.low, int) and isinstance(self.high, int) and not self.log else None)
        return (
            None
            if step is None
            else [self.low + i * step for i in range(int((self.high - self.low) / step + 1e-9) + 1)]
        )


@dataclass(frozen=True)
class Choice:
    """One of some numbers and words."""

    options: tuple[Any, ...]

    def draw(self, trial: optuna.Trial, name: str) -> Any:
        """A value for a trial."""
        return trial.suggest_categorical(name, self.options)

    @property
    def ends(self) -> list[Any]:
        """Values that must fit."""
        return list(self.options)

    listed = ends


def space_of(given: Mapping[str, Any] | Iterable[str] | str | Path) -> dict[str, Range | Choice]:
    """A space from `{setting: range or list}`, from `setting=range` as typed, or from a YAML file of the former.

    >>> space_of(["learning_rate=1e-4..1e-2:log", "optimizer=sgd,adamw"])["learning_rate"]
    Range(low=0.0001, high=0.01, log=True, step=None)

    Raises:
        UsageError: it is none; the file is not there, or is no YAML.
    """
    if isinstance(given, (str, Path)):
        given = _read(Path(given))
    if not isinstance(given, Mapping):
        pairs = [one.partition("=") for one in given]
        if bad := next((one for one, equals, _ in pairs if not (one.strip() and equals)), None):
            raise UsageError(f"'{bad}' does not say what is tried", expected="KEY=RANGE, such as epochs=3..10")
        given = {name.strip(): text for name, _, text in pairs}
    if not given:
        raise UsageError("there is nothing to search over", fix="give --tune KEY=RANGE, or --space with a YAML file")
    return {name: _values(name, value) for name, value in given.items()}


def _read(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise UsageError("there is no such space", where=path, code="not-found")
    try:
        values = parse_yaml(read_regular(path, MOST_BYTES).decode("utf-8"))
    except ValueError as error:
        raise UsageError(f"this is not YAML ({error})", where=path) from None
    if not isinstance(values, dict):
        raise UsageError("this is not a space", where=path, expected="lines such as 'epochs: 3..10'")
    return {str(name): value for name, value in values.items()}


def _values(name: str, given: Any) -> Range | Choice:
    if isinstance(given, str) and (match := RANGE.fullmatch(given.strip())):
        low, high = (parse_setting(f"x={text}")[1] for text in match.group(1, 2))
        log = match[3] == "log"
        step = parse_setting(f"x={match[3]}")[1] if match[3] and not log else None
        if not low < high or (log and low <= 0) or (step is not None and step <= 0):
            raise UsageError(f"{name}={given} is no range", expected="the lower end first; above 0 where it is :log")
        return Range(low, high, log, step)
    options = given.split(",") if isinstance(given, str) else given
    if not isinstance(options, (list, tuple)):
        raise UsageError(f"{name}={shown(given)} is nothing to search over", expected=EXPECTED)
    options = [parse_setting(f"x={one}")[1] if isinstance(one, str) else one for one in options]
    if bad := [one for one in options if not isinstance(one, (str, int, float, bool, type(None)))]:
        raise UsageError(f"{name}: {shown(bad[0])} cannot be tried", expected="numbers and words")
    if len(options) < 2 or len(set(map(repr, options))) < len(options):
        raise UsageError(f"{name}={shown(given)} leaves nothing to choose", expected=EXPECTED)
    return Choice(tuple(options))
