"""Where tests of the map page lay the 24 images."""

from .serving import GALLERY

MAP = f"{GALLERY}/map"
CORNERS = ((30, 40), (200, 40), (30, 200), (200, 200))


def places_of(ids):
    """Each group of six images around a corner of its own, a unit between neighbours."""
    return {
        id: (CORNERS[n // 6][0] + n % 6, CORNERS[n // 6][1] + n % 3) for n, id in enumerate(ids)
    }
