"""`datasette` with the toy model, as `helpers.commands.start` starts it.

WISHES in the environment are what `start` was given: where the model waits, how slow it seems.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from datasette.cli import cli  # noqa: E402
from datasette.plugins import pm  # noqa: E402

from datasette_imgsim.atlas import layout  # noqa: E402
from helpers.toy import Halves, Toy, hookimpl  # noqa: E402

WISHES = json.loads(os.environ["WISHES"])
HOLD = Path(WISHES["hold"]) if "hold" in WISHES else None


class Clock:
    """Time that also goes on without anybody waiting for it."""

    ahead, monotonic = 0, staticmethod(time.monotonic)

    @classmethod
    def now(cls):
        return cls.monotonic() + cls.ahead


class ObedientHalves(Halves):
    calls = 0

    def __call__(self, pixels):
        # The first call only measures how long vectors are.
        if HOLD and self.calls >= WISHES["before"]:
            self.wait()
        Clock.ahead += WISHES["seconds_a_batch"] if self.calls else 0
        self.calls += 1
        return super().__call__(pixels)

    @staticmethod
    def wait():
        """Leaves a file, to say that it waits, and does so until the folder is gone."""
        try:
            (HOLD / str(os.getpid())).touch()
        except FileNotFoundError:
            return
        while HOLD.exists():
            time.sleep(0.02)


class ObedientToy(Toy):
    def cut(self, levels, weights, size):
        return ObedientHalves(levels)


class Plugin:
    @hookimpl
    def register_imgsim_models(self, register):
        register(ObedientToy())


if __name__ == "__main__":
    # A shell that starts the tests in the background lets its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    time.monotonic = Clock.now
    if WISHES["endless_map"]:
        layout.ITERATIONS = 10**9
    pm.register(Plugin())
    cli()
