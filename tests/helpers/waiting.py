"""Waiting for what happens in another thread, process or task, on however busy a machine."""

import asyncio
import time

LONG = 60
"""Seconds after which something hangs for certain."""


def wait_until(condition, pause=0.02):
    """Asks a condition again and again until it is true; gives what it gave."""
    deadline = time.monotonic() + LONG
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(pause)
    return found


async def eventually(condition, pause=0.02):
    """The same where a task waits; the condition may be a coroutine function."""
    deadline = time.monotonic() + LONG
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(pause)
