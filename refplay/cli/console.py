"""Standard output that may end before we do: `refplay run plan.toml | head -1` runs the whole round all the same."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from rich.console import Console


class PipeConsole(Console):
    """A console that falls silent when its reader has seen enough, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard_stdout()

    def _check_buffer(self) -> None:
        # Releases of rich before 13.8 let the error through.
        try:
            super()._check_buffer()
        except BrokenPipeError:
            del self._buffer[:]
            self.on_broken_pipe()


def discard_stdout() -> None:
    """Send the rest of standard output nowhere, so that the flush at exit cannot fail (Python docs, `signal`)."""
    with suppress(OSError, ValueError, AttributeError):  # closed, replaced or absent: nothing to redirect
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
