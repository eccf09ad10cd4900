"""A real browser, and a real server under a strict Content-Security-Policy."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

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


def needed(present, what):
    """Skips where something is not installed; where tests must be complete that is a failure."""
    if not present:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not installed")


def chromium(playwright):
    """A browser that is installed, else Playwright's own."""
    installed = next(filter(None, map(shutil.which, BROWSERS)), None)
    return os.environ.get("CHROMIUM") or installed or playwright.chromium.executable_path


@pytest.fixture(scope="module")
def browser():
    needed(importlib.util.find_spec("playwright"), "Playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = chromium(playwright)
        needed(os.path.exists(path), "Chromium")
        found = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "plugin.py").write_text(PLUGIN)
    return folder


def serve(photos, plugins, config=None):
    """(process, URL) of a real server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = plugins / f"config-{port}.json"
    file.write_text(json.dumps({"plugins": {"datasette-imgsim": config or {}}}))
    command = [sys.executable, "-m", "datasette", "serve", photos / "photos.db", "-p", str(port)]
    command += ["--plugins-dir", plugins, "-m", file]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(url + "/-/versions.json").close()
            return process, url
        except OSError:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.1)
    raise AssertionError("the server did not start")


@pytest.fixture(params=[(1280, 900), (390, 800)], ids=["desktop", "phone"])
def page(request, browser):
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    found = context.new_page()
    found.set_default_timeout(20_000)
    found.mistakes = []
    found.on("pageerror", lambda error: found.mistakes.append(str(error)))
    found.add_init_script(
        "window.violations = [];"
        "document.addEventListener('securitypolicyviolation', (event) =>"
        " violations.push([event.effectiveDirective, event.blockedURI, event.sourceFile]));"
    )
    yield found
    context.close()
    assert found.mistakes == []


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
