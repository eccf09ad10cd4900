"""A real browser, and a real server under a strict Content-Security-Policy."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

from .waiting import LONG, wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
POLICY = "default-src 'self'; img-src 'self' data: blob:"

# Served beside the plugin: the policy, and a space that loads for a moment where a file says so.
PLUGIN = f"""
import functools, pathlib, time
from datasette import hookimpl

slow = pathlib.Path(__file__).with_name("slow")

@hookimpl
def startup():
    from datasette_imgsim.search import indexes
    load = indexes.load
    def slowly(*args):
        while slow.exists():
            time.sleep(0.05)
        return load(*args)
    indexes.load = slowly

@hookimpl(trylast=True)
def asgi_wrapper():
    def wrap(app):
        @functools.wraps(app)
        async def with_policy(scope, receive, send):
            async def sent(message):
                if message["type"] == "http.response.start":
                    policy = (b"content-security-policy", {POLICY.encode()!r})
                    message = dict(message, headers=[*message["headers"], policy])
                await send(message)
            await app(scope, receive, sent)
        return with_policy
    return wrap
"""


def chromium(playwright):
    """A browser that is installed, else Playwright's own."""
    installed = next(filter(None, map(shutil.which, BROWSERS)), None)
    return os.environ.get("CHROMIUM") or installed or playwright.chromium.executable_path


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(folder, plugins, config=None):
    """Runs a real server of folder/photos.db; gives its address."""
    port = free_port()
    file = plugins / f"config-{port}.json"
    file.write_text(json.dumps({"plugins": {"datasette-imgsim": config or {}}}))
    command = [sys.executable, "-m", "datasette", "serve", folder / "photos.db", "-p", str(port)]
    command += ["--plugins-dir", plugins, "-m", file]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_up(process, url), pause=0.1)
        yield url
    finally:
        process.terminate()
        process.communicate()


def is_up(process, url):
    """Whether a server answers yet; fails where it has ended."""
    try:
        urllib.request.urlopen(url + "/-/versions.json").close()
    except OSError:
        assert process.poll() is None, process.stderr.read().decode()
        return False
    return True


def fits(page):
    """Nothing makes the page wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def loaded(page, selector):
    """The pictures that a selector finds are all shown."""
    page.wait_for_function(
        "(s) => [...document.querySelectorAll(s)].every((i) => i.complete && i.naturalWidth)",
        arg=selector,
    )
    return True


def close(context):
    """Closes the pages of a browser's context.

    Rarely, Chromium waits for ever for the process of a page, which is killed then.
    """
    patience = threading.Timer(LONG, end_pages)
    patience.start()
    context.close()
    patience.cancel()


def end_pages():
    """Kills the processes of pages, of browsers that this process has started."""
    parents, pages = {}, []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            status = Path(f"/proc/{pid}/stat").read_text()
            parents[pid] = int(status.rpartition(")")[2].split()[1])
            if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                pages.append(pid)
    for pid in pages:
        parent = pid
        while parent in parents and parent != os.getpid():
            parent = parents[parent]
        if parent == os.getpid():
            os.kill(pid, signal.SIGKILL)
