"""Work in threads beside those that run SQL."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor


async def in_thread(pool: Executor, function, *arguments):
    """What `function(*arguments)` gives, computed by a pool, or here where threads cannot start.

    In a browser (Datasette Lite) there are none.
    """
    try:
        work = pool.submit(function, *arguments)
    except RuntimeError:
        return function(*arguments)
    return await asyncio.wrap_future(work)
