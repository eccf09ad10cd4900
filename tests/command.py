"""`datasette imgsim` with the toy model, for tests that need a process of its own.

SECONDS_A_BATCH in the environment makes the model slow.
"""

import ctypes
import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def start(*arguments, seconds_a_batch=0, **options):
    """Starts `datasette imgsim …`; what it prints comes as text."""
    command = [sys.executable, __file__, "imgsim", *map(str, arguments)]
    environment = os.environ | {"SECONDS_A_BATCH": str(seconds_a_batch)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, env=environment, **options)


def run(*arguments, **options):
    """(exit code, standard output, standard error) of `datasette imgsim …`."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def ordinary_user():
    """For preexec_fn: takes away root's power to read and write what permissions forbid."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")


def small_files(size):
    """For preexec_fn: no file may grow beyond `size` bytes, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


if __name__ == "__main__":
    # A shell that starts the tests in the background lets its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, str(Path(__file__).parent))
    from datasette.cli import cli
    from datasette.plugins import pm
    from toy import Halves, Toy, hookimpl

    class SlowHalves(Halves):
        # The first call only measures how long vectors are.
        pauses = itertools.chain([0], itertools.repeat(float(os.environ["SECONDS_A_BATCH"])))

        def __call__(self, pixels):
            time.sleep(next(self.pauses))
            return super().__call__(pixels)

    class SlowToy(Toy):
        def cut(self, levels, weights, size):
            return SlowHalves(levels)

    class Plugin:
        @hookimpl
        def register_imgsim_models(self, register):
            register(SlowToy())

    pm.register(Plugin())
    cli()
