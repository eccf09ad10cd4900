"""The colours of our stylesheets."""

import re
from pathlib import Path

import pytest

import datasette_imgsim

STATIC = Path(datasette_imgsim.__file__).parent / "static"
COLOURS = STATIC / "colours.css"
LIGHT, DARK = (
    set(re.findall(r"(--imgsim-\w+):", part)) for part in COLOURS.read_text().split("@media")
)
OTHERS = sorted(set(STATIC.glob("*.css")) - {COLOURS})


def test_each_colour_has_a_dark_one():
    """But for those of what lies on pictures, or below them."""
    assert LIGHT - DARK == {f"--imgsim-{name}" for name in ("ground", "sign", "bright")}
    assert DARK < LIGHT


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.name)
def test_a_stylesheet_uses_these_colours_only(file):
    text = file.read_text()
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", text) == []
    assert set(re.findall(r"var\((--imgsim-\w+)\)", text)) <= LIGHT
