"""Draw the picture of the README from a real run: `python infra/picture.py docs/tune.svg`.

The progress is shown as it stood half-way through the run, then the leaderboard.
"""

import io
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from orchestrator.api import tune
from orchestrator.coordinator.progress import Progress
from orchestrator.leaderboard import choose
from orchestrator.reporting import Silent
from orchestrator.spec import Spec
from orchestrator.terminal import leaderboard_table, progress_table
from orchestrator.tracking.sender import OutboxState


class Photographer(Silent):
    """Remembers the progress half-way."""

    def __init__(self) -> None:
        self.shot: tuple[Progress, OutboxState] | None = None

    def progress(self, progress: Progress, outbox: OutboxState) -> None:
        """Keep the first report after half of the trials."""
        done, total = (sum(getattr(scope, part) for scope in progress.scopes) for part in ("done", "total"))
        if self.shot is None and done >= total / 2:
            self.shot = progress, outbox


def main() -> None:
    """Run, and write the picture."""
    target = Path(sys.argv[1])
    screen = Console(record=True, width=150, file=io.StringIO(), force_terminal=True)
    camera = Photographer()
    with tempfile.TemporaryDirectory() as runs:
        result = tune(Spec(runs=Path(runs)), camera)
    screen.print("$ orchestrate tune --country all", highlight=False)
    if camera.shot is not None:
        screen.print(progress_table(*camera.shot))
    screen.print(leaderboard_table(choose(result.rows, top=3), screen.width))
    target.parent.mkdir(parents=True, exist_ok=True)
    screen.save_svg(str(target), title="orchestrate")


if __name__ == "__main__":
    main()
