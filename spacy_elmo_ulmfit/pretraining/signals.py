"""Signals that ask a process to stop, heeded when the work at hand is done."""

import contextlib
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class StopRequest:
    """Whether the process was asked to stop.

    number (Optional[signal.Signals]): The signal that asked, if one did.
    """

    number: Optional[signal.Signals] = None


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
        request.number = signal.Signals(number)
        restore()

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
