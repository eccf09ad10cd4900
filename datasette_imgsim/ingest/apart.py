"""Decodes pictures in processes of their own, which are ended when one takes too long.

So a picture that makes its decoder crash, run on, or take much memory costs only itself.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from ..limits import LIMITS
from . import decode, messages
from .decode import Large, Picture, opened
from .facts import Facts
from .part import Box
from .quiet import silent_decoders
from .refusals import NotAPicture, TooLarge, TooSmall

PACKAGE = Path(__file__).parents[1]
# The package without its __init__, which needs Datasette; modules are found as in this process.
PROGRAM = """
import sys, types
sys.path[:] = {path!r}
package = types.ModuleType({name!r})
package.__path__ = [{folder!r}]
sys.modules[{name!r}] = package
from {name}.ingest.decoder import main
main()
"""
# numpy would start a thread for each core, and nothing here makes use of them.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# So many bytes go through a pipe at once: the pixels for most networks.
PIPE = 1 << 20


class CannotStart(Exception):
    """No process can be started."""


class Decoders:
    """Processes that decode one picture each at a time. Any thread may call.

    They start when they are needed, stay for the next picture, and end with this process. Where
    none can be started, as in a browser, pictures are decoded here.
    """

    def __init__(self) -> None:
        self.all: set[_Process] = set()
        self.idle: list[_Process] = []
        self.owner = os.getpid()

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes, also those that decode a picture: no more may be asked for."""
        for process in list(self.all):
            process.kill()

    def decode(
        self,
        source: str | bytes,
        size: int,
        resize: str = "squash",
        thumbnail_size: int = decode.THUMBNAIL_SIZE,
        max_pixels: int = decode.MAX_PIXELS,
        large: Large = decode.one_at_a_time,
        seconds: float | None = None,
        ordinary_here: bool = False,
        part: Box | None = None,
    ) -> Picture:
        """What `decode.decode` makes of a file with this path, or of its bytes; raises as it does.

        It may take so many seconds, LIMITS.seconds_to_decode unless they are given. With
        `ordinary_here`, ordinary pictures are decoded in this process, which is faster.
        """
        if ordinary_here:
            with opened(source) as file:
                found = decode.decode_ordinary(file, size, resize, thumbnail_size, max_pixels)
            if found is not None:
                return found
        options = {
            "size": size,
            "resize": resize,
            "thumbnail_size": thumbnail_size,
            "max_pixels": max_pixels,
            "part": part,
        }
        try:
            process = self._free()
        except CannotStart:
            return _in_place(source, large, options)
        try:
            return process.decode(source, options, large, seconds or LIMITS.seconds_to_decode)
        finally:
            if process.is_ready:
                self.idle.append(process)
            else:
                self._end(process)

    def _free(self) -> _Process:
        """A process that waits for a picture. Raises CannotStart, and TooLarge if it cannot now."""
        if self.owner != os.getpid():
            # A copy of the process that started them, whose pipes it shares.
            self.all, self.idle, self.owner = set(), [], os.getpid()
        while self.idle:
            process = self.idle.pop()
            if process.is_alive:
                return process
            self._end(process)
        try:
            process = _Process()
        except CannotStart as ex:
            if not self.all:
                raise
            raise TooLarge("no process can be started to decode it: try it again later") from ex
        self.all.add(process)
        return process

    def _end(self, process: _Process) -> None:
        self.all.discard(process)
        process.end()


SHARED = Decoders()
"""For single pictures, such as uploads."""
atexit.register(SHARED.close)


class _Process:
    """A process that decodes pictures."""

    def __init__(self) -> None:
        """Raises CannotStart."""
        self.process = _started()
        self.limits: dict = {}
        self.is_ready = True
        try:
            messages.receive(self._answers)
        except EOFError as ex:
            self.end()
            raise CannotStart from ex

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def _requests(self) -> IO[bytes]:
        assert self.process.stdin
        return self.process.stdin

    @property
    def _answers(self) -> IO[bytes]:
        assert self.process.stdout
        return self.process.stdout

    def kill(self) -> None:
        self.process.kill()
        if self.is_ready:
            self.end()

    def end(self) -> None:
        """Waits for the end of the process, and closes its pipes."""
        self.process.kill()
        self.process.communicate()

    def decode(self, source: str | bytes, options: dict, large: Large, seconds: float) -> Picture:
        """The picture. Raises as `decode` does; it may not be ready then."""
        self.is_ready = False
        self._began = time.monotonic()
        try:
            with ExitStack() as stack:
                answer, contents = self._answer(source, options, large, seconds, stack)
            found = _picture(answer, contents, options["size"])
        except (EOFError, LookupError, TypeError, ValueError):
            raise self._refusal(seconds) from None
        self.is_ready = True
        if isinstance(found, Exception):
            raise found
        return found

    def _answer(
        self,
        source: str | bytes,
        options: dict,
        large: Large,
        seconds: float,
        stack: ExitStack,
    ) -> tuple[dict, list[bytes]]:
        """The answer to a request, for which `stack` enters `large` if it is needed."""
        path, contents = (source, []) if isinstance(source, str) else (None, [source])
        request = {"path": path, "seconds": seconds, "options": options}
        if self.limits != vars(LIMITS):
            self.limits = request["limits"] = dict(vars(LIMITS))
        self._send(request, *contents)
        answer = messages.receive(self._answers)
        if "large" in answer[0]:
            stack.enter_context(large())
            self._began = time.monotonic()
            self._send({})
            answer = messages.receive(self._answers)
        return answer

    def _send(self, message: dict, *contents: bytes) -> None:
        try:
            messages.send(self._requests, message, *contents)
        except OSError as ex:
            raise EOFError from ex

    def _refusal(self, seconds: float) -> Exception:
        """Why the process gave no answer, or none that makes sense."""
        if time.monotonic() - self._began >= seconds:
            return TooLarge(f"decoding it took longer than {seconds:g} s")
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            code = 0
        if code == -getattr(signal, "SIGKILL", 0):
            return TooLarge("its decoder was ended by the system, which has too little memory")
        return NotAPicture("the picture is damaged, or made to do damage: its decoder crashed")


def program() -> str:
    """What a decoder's process runs."""
    return PROGRAM.format(path=sys.path, name=PACKAGE.name, folder=str(PACKAGE))


def _started() -> subprocess.Popen:
    # A program that brings its own Python is no interpreter.
    if not sys.executable or getattr(sys, "frozen", False):
        raise CannotStart
    try:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", program()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=PIPE,
            pipesize=PIPE,
            env=os.environ | ENVIRONMENT,
            start_new_session=True,  # Ctrl-C is for this process alone
        )
    except OSError as ex:
        raise CannotStart from ex


def _picture(answer: dict, contents: list[bytes], size: int) -> Picture | Exception:
    """The picture of an answer, or what it raised. Raises an error for one that makes no sense."""
    if "refused" in answer:
        kinds = {kind.__name__: kind for kind in (NotAPicture, TooLarge, TooSmall)}
        return kinds[answer["refused"]](answer["refused_because"])
    if "errno" in answer:
        return OSError(answer["errno"], answer["strerror"])
    pixels, thumbnail = contents
    array = np.frombuffer(pixels, np.uint8).reshape(size, size, 3)
    return Picture(array.copy(), thumbnail, Facts(**answer["facts"]))


def _in_place(source: str | bytes, large: Large, options: dict) -> Picture:
    """The same in this process."""
    with silent_decoders(), opened(source) as file:
        return decode.decode(file, large=large, **options)
