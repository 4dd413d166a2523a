"""What can go wrong, and with which exit code the command ends.

OrchestrateError             1  our fault
|-- InputError               2  the user's input: what must hold, what came, what to do
|-- NotAllSent               3  finished, but the tracking server has not got everything
`-- BudgetLeftCountries      4  the budget left a country without an answer
"""

from pathlib import Path


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM while a run was at work; what is recorded is safe, and `--resume` goes on."""

    def __init__(self, run: Path) -> None:
        super().__init__(str(run))
        self.run = run


class OrchestrateError(Exception):
    """The root of all errors that a command reports in one sentence."""

    exit_code = 1


class InputError(OrchestrateError):
    """Something the user gave cannot be used; the message says what must hold, what came, and what to do."""

    exit_code = 2


class NotAllSent(OrchestrateError):
    """The run is finished and safe in its ledger, but the tracking server has not got all of it."""

    exit_code = 3


class BudgetLeftCountries(OrchestrateError):
    """The budget ended before every country had an answer."""

    exit_code = 4
