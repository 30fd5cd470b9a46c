"""The first signal to stop is noted, the second acts."""

import signal
import threading

import pytest

from spacy_elmo_ulmfit.pretraining.resuming.signals import (
    StopRequested,
    catch_stop_signals,
)

SIGNALS = [signal.SIGTERM, signal.SIGINT]


class Handled(Exception):
    """Raised by a handler of the process's own."""


@pytest.fixture(params=SIGNALS)
def number(request):
    """A signal whose handler raises, as long as the test lasts."""

    def handler(number, frame):
        raise Handled

    before = signal.signal(request.param, handler)
    yield request.param
    signal.signal(request.param, before)


def test_the_first_signal_is_noted(number):
    with catch_stop_signals() as request:
        assert request.number is None
        signal.raise_signal(number)
        assert request.number == number


def test_the_second_signal_acts_as_it_did_before(number):
    with catch_stop_signals() as request:
        signal.raise_signal(number)
        with pytest.raises(Handled):
            signal.raise_signal(number)
        assert request.number == number


def test_a_signal_ends_at_once_what_may_be_abandoned(number):
    with catch_stop_signals() as request:
        with pytest.raises(StopRequested), request.abandoning():
            signal.raise_signal(number)
        assert request.number == number
    with catch_stop_signals() as request:
        with request.abandoning():
            pass
        signal.raise_signal(number)
        assert request.number == number


@pytest.mark.parametrize("error", [None, KeyError])
def test_handlers_are_restored(number, error):
    try:
        with catch_stop_signals():
            if error:
                raise error
    except KeyError:
        pass
    with pytest.raises(Handled):
        signal.raise_signal(number)


def test_an_ignored_signal_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with catch_stop_signals() as request:
        signal.raise_signal(number)
        assert request.number is None
    assert signal.getsignal(number) == signal.SIG_IGN


def test_other_threads_catch_nothing(number):
    handlers = []

    def run():
        with catch_stop_signals():
            handlers.append(signal.getsignal(number))

    before = signal.getsignal(number)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [before]
