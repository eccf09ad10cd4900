"""How long-running work is interrupted."""

import ctypes
import signal
import sys
import threading

import pytest

from datasette_imgsim.progress import interruptible, silent


@pytest.fixture(autouse=True)
def at_a_terminal():
    """Ctrl-C is heeded, which a process in the background may be told not to do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_that_is_lost_in_compiled_code_ends_the_work_at_the_next_step(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: None)
    callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with interruptible(silent) as progress, progress(2) as advance:
        advance(1)
        callback()
        with pytest.raises(KeyboardInterrupt):
            advance(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_it_comes_at_once_where_it_can():
    with pytest.raises(KeyboardInterrupt), interruptible(silent):
        signal.raise_signal(signal.SIGINT)


def test_other_threads_have_no_signals():
    def work():
        with interruptible(silent) as progress:
            found.append(progress)

    found = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [silent]
