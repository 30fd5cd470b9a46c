"""Signals that ask a process to stop, heeded when the work at hand is done."""

import contextlib
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequested(Exception):
    """A signal to stop arrived in the middle of what may be abandoned."""


@dataclass
class StopRequest:
    """Whether the process was asked to stop.

    number (Optional[signal.Signals]): The signal that asked, if one did.
    may_abandon (bool): Whether what is going on need not be finished.
    """

    number: Optional[signal.Signals] = None
    may_abandon: bool = False

    @contextlib.contextmanager
    def abandoning(self) -> Iterator[None]:
        """Let a signal end a block at once.

        RAISES (StopRequested): Where the signal arrived.
        """
        self.may_abandon = True
        try:
            yield
        finally:
            self.may_abandon = False

    def note(self, number: int) -> None:
        """Note a signal.

        RAISES (StopRequested): If what is going on may be abandoned.
        """
        self.number = signal.Signals(number)
        if self.may_abandon:
            raise StopRequested


class TrainingInterrupted(Exception):
    """Training was asked to stop and did, after writing a checkpoint.

    number (signal.Signals): The signal that asked.
    step (int): Steps done.
    checkpoint (Path): What was written.
    """

    def __init__(self, number: signal.Signals, step: int, checkpoint: Path) -> None:
        super().__init__(
            f"Stopped by {number.name} at step {step}; {checkpoint} is written. Go on by "
            "the same command with --resume."
        )
        self.number = number


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Note the first SIGTERM or SIGINT; a second one acts as it did before.

    Handlers can be installed in the main thread only: in others, nothing is caught.
    A signal that the process ignores, as under nohup, stays ignored.

    YIELDS (StopRequest): Where the signal is noted.
    """
    request = StopRequest()
    previous: Dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: Any) -> None:
        restore()
        request.note(number)

    if threading.current_thread() is threading.main_thread():
        for number in _STOP_SIGNALS:
            handler = signal.getsignal(number)
            # None is a handler that was not installed from Python.
            if handler not in (signal.SIG_IGN, None):
                previous[number] = handler
                signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
