"""The program of a decoder's process: decodes one picture after the other, as it is told."""

from __future__ import annotations

import faulthandler
import io
import mmap
import os
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import BinaryIO

from PIL import Image

from ..limits import LIMITS
from . import decode, messages
from .refusals import NotAPicture, TooLarge, TooSmall

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEMORY = "/proc/self/statm"


class Decoder:
    """Reads requests from one file and answers them in another."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO):
        self.requests, self.answers = requests, answers
        self.received: queue.SimpleQueue = queue.SimpleQueue()
        self.silence = open(os.devnull, "w")
        self.own = _own_bytes()

    def run(self) -> None:
        """Answers requests until the end of the process."""
        threading.Thread(target=self._receive, daemon=True).start()
        messages.send(self.answers, {})
        while True:
            self._answer(*self.received.get())

    def _receive(self) -> None:
        """Reads ahead, so that the process ends with its parent also while it decodes."""
        try:
            while True:
                self.received.put(messages.receive(self.requests))
        finally:
            os._exit(0)

    def _answer(self, request: dict, contents: list[bytes]) -> None:
        vars(LIMITS).update(request.get("limits", {}))
        self.seconds, self.is_large = request["seconds"], False
        self._watch_time(self.seconds)
        try:
            with decode.opened(request["path"] or contents[0]) as file:
                self.size = file.seek(0, io.SEEK_END)
                file.seek(0)
                self._limit_memory(LIMITS.bytes_of_large)
                picture = decode.decode(file, large=self._large, **request["options"])
        except (NotAPicture, TooLarge, TooSmall) as ex:
            answer = {"refused": type(ex).__name__, "refused_because": str(ex)}
            messages.send(self.answers, answer)
        except OSError as ex:
            messages.send(self.answers, {"errno": ex.errno, "strerror": ex.strerror})
        else:
            pixels = picture.pixels.data.cast("B")
            messages.send(self.answers, {"facts": asdict(picture.facts)}, pixels, picture.thumbnail)
        finally:
            self._watch_time(0)
            self._limit_memory(None)

    @contextmanager
    def _large(self) -> Iterator[None]:
        """Waits until this process may decode a picture that needs much memory."""
        if not self.is_large:
            self.is_large = True
            self._watch_time(0)
            messages.send(self.answers, {"large": True})
            self.received.get()
            self._watch_time(self.seconds)
            self._limit_memory(LIMITS.bytes_to_decode)
        yield

    def _watch_time(self, seconds: float) -> None:
        """Ends the process after so many seconds, unless it is called again; 0 ends the watch.

        No thread of Python's watches, since a decoder could keep it from running.
        """
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)  # it sends SIGALRM
        elif seconds:
            faulthandler.dump_traceback_later(seconds, exit=True, file=self.silence)
        else:
            faulthandler.cancel_dump_traceback_later()

    def _limit_memory(self, cost: int | None) -> None:
        """Lets the process have little more memory than a picture needs, where the system can."""
        if not (resource and self.own):
            return
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = hard
        if cost is not None:
            most = self.own + LIMITS.bytes_beside_pixels + cost
            most += min(4 * self.size, 2 * LIMITS.bytes_of_file)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _own_bytes() -> int:
    """The memory of this process that the system limits; 0 where that is not known."""
    try:
        with open(MEMORY) as file:
            return int(file.read().split()[5]) * mmap.PAGESIZE
    except OSError:
        return 0


def main() -> None:
    """Runs a decoder on standard input and output, which nothing else can reach then."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it ends the process
    Image.MAX_IMAGE_PIXELS = None  # LIMITS are heeded instead
    _volunteer()
    Decoder(requests, answers).run()


def _volunteer() -> None:
    """Where memory runs out, Linux ends this process and not the one that needs the picture."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass
