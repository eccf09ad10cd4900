"""Many clients ask a server for everything it has, while `embed` adds pictures."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import click
from common import (
    MODEL,
    ask,
    command,
    conclude,
    copy_photos,
    memory,
    photo_folder,
    photos_of,
    run,
    served,
)

PHOTOS_A_RUN = 20
"""How many photos each run of `embed` adds."""


@click.command(help=__doc__)
@photo_folder
@click.option("--images", default=500, show_default=True)
@click.option("--clients", "count", default=50, show_default=True)
@click.option("--seconds", default=120, show_default=True)
def clients(folder, images, count, seconds):
    with tempfile.TemporaryDirectory() as temporary:
        pictures, database = Path(temporary, "images"), Path(temporary, "photos.db")
        photos = photos_of(folder, 4 * images)
        copy_photos(photos[:images], pictures)
        embed = command("embed", database, pictures, *MODEL, "--quiet")
        run(embed)
        run(command("map", database))
        upload = photos[0].read_bytes()
        with served(database) as (base, process):
            ask(f"{base}/images/-/imgsim/search", upload, timeout=600)  # loads the network
            stop = time.monotonic() + seconds
            everybody = [Client(base, images, upload, n) for n in range(count)]
            threads = [threading.Thread(target=one.ask_until, args=(stop,)) for one in everybody]
            start = memory(process)
            for thread in threads:
                thread.start()
            exit_codes, added, middle = Counter(), 0, start
            while time.monotonic() < stop and images + added < len(photos):
                first = images + added
                copy_photos(photos[first : first + PHOTOS_A_RUN], pictures, first)
                exit_codes[run(embed).exit_code] += 1
                added += PHOTOS_A_RUN
                if time.monotonic() < stop - seconds / 2:
                    middle = memory(process)
            for thread in threads:
                thread.join()
            end = memory(process)
    print(f"{count} clients, {seconds} s, {exit_codes.total()} runs of embed added {added} photos")
    failed = _report(everybody)
    print(f"memory: {start:.0f} MB at the start, {middle:.0f} half-way, {end:.0f} at the end")
    conclude({"answers": failed, "runs of embed": exit_codes.total() - exit_codes[0]})


class Client:
    """Asks for one thing after the other, at random."""

    def __init__(self, base: str, images: int, upload: bytes, number: int):
        self.base, self.images, self.upload = base, images, upload
        self.chance = random.Random(number)
        self.answers: dict[str, list[tuple[int | str, float]]] = defaultdict(list)
        """(status, seconds) of each answer, by what was asked for."""

    def ask_until(self, stop: float) -> None:
        while time.monotonic() < stop:
            urls = self.urls()
            what = self.chance.choice(list(urls))
            data = self.upload if what == "upload" else None
            status, _body, seconds = ask(urls[what], data)
            self.answers[what].append((status, seconds))

    def urls(self) -> dict[str, str]:
        """What can be asked for."""
        id, gallery = self.chance.randrange(1, self.images + 1), f"{self.base}/images/-/imgsim"
        place = f"{self.chance.randrange(2)}/0/0"
        return {
            "gallery": gallery,
            "similar page": f"{gallery}/similar/{id}",
            "similar JSON": f"{gallery}/similar/{id}.json",
            "map": f"{gallery}/map.json?z=0",
            "thumbnail": f"{gallery}/thumbnail/{id}.jpg",
            "tile": f"{gallery}/tiles/{place}.jpg",
            "table page": f"{self.base}/images?_similar_to={id}",
            "SQL": f"{self.base}.json?sql=select+similar_to({id})",
            "upload": f"{gallery}/search",
        }


def _report(everybody: list[Client]) -> int:
    """Prints what was answered to all clients; gives how many answers were failures."""
    answers = defaultdict(list)
    for client in everybody:
        for what, found in client.answers.items():
            answers[what] += found
    answers["all"] = sum(answers.values(), [])
    for what, found in answers.items():
        times = sorted(seconds for _, seconds in found)
        p50, p99 = (1000 * times[int(share * len(times))] for share in (0.5, 0.99))
        counts = dict(Counter(status for status, _ in found).most_common())
        print(f"{what}: {len(found):,} answers {counts}, p50 {p50:,.0f} ms, p99 {p99:,.0f} ms")
    # 429: so many uploads at once are refused, with a sentence.
    return sum(status not in (200, 429) for status, _ in answers["all"])
