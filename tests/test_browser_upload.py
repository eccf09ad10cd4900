"""Searching by a picture of one's own in a real browser: how it is given, sent, and shown."""

import pytest
from helpers.browser import fits, loaded, running
from helpers.commands import imgsim
from helpers.databases import lay_out, rows
from helpers.maps import MAP, places_of
from helpers.pictures import draw
from helpers.serving import GALLERY

pytestmark = pytest.mark.datasette

DIALOG = ".imgsim-sending[open]"
SAID = f"{DIALOG} [role=status]"
FOCUSED = "document.activeElement"


@pytest.fixture(scope="module")
def server(photos, plugins, tmp_path_factory):
    """The address of a server of a map and of a space with three levels."""
    folder = tmp_path_factory.mktemp("upload")
    database, images = folder / "photos.db", folder / "images"
    database.write_bytes((photos / "photos.db").read_bytes())
    images.symlink_to(photos / "images")
    lay_out(database, places_of(rows(database, "select id from images order by path")))
    options = ("--levels", "conv2_1,pool3,conv5_1", "--space", "three")
    imgsim("embed", database, images, "--quiet", *options)
    with running(folder, plugins, {"max_upload_mb": 0.05}) as url:
        yield url


@pytest.fixture(scope="module")
def file(photos):
    return photos / "images" / "circles" / "0.jpg"


def give(page, kind, *files, target="body", **texts):
    """Drops or pastes files and texts, as the browser would report it."""
    page.evaluate(
        """([kind, files, texts, target]) => {
            const data = new DataTransfer();
            for (const [bytes, name] of files) {
                data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/jpeg"}));
            }
            for (const [type, text] of Object.entries(texts)) data.setData(`text/${type}`, text);
            const options = {bubbles: true, cancelable: true};
            const event = kind === "paste"
                ? new ClipboardEvent(kind, {clipboardData: data, ...options})
                : new DragEvent(kind, {dataTransfer: data, ...options});
            document.querySelector(target).dispatchEvent(event);
        }""",
        [kind, [[list(path.read_bytes()), path.name] for path in files], texts, target],
    )


def arrive(page):
    """Waits for the page of the picture; gives the number of results."""
    page.wait_for_url("**/upload/*")
    assert loaded(page, ".imgsim-query img") and fits(page)
    return page.locator(".imgsim-tile").count()


def test_a_chosen_picture_has_a_page_with_an_address(server, page, file):
    page.goto(server + GALLERY)
    gallery = page.url
    page.set_input_files("#imgsim-file", file)
    count = arrive(page)
    assert page.inner_text("h1") == "Similar to 0.jpg"
    assert page.inner_text(".imgsim-found [role=status]") == f"{count} alike"
    picture = page.locator(".imgsim-query").bounding_box()
    results = page.locator(".imgsim-tiles").bounding_box()
    beside = results["x"] >= picture["x"] + picture["width"]
    assert beside == (page.viewport_size["width"] > 640)
    # Datasette's own pages have inline scripts.
    assert page.evaluate("violations.filter((v) => v[1] !== 'inline')") == []
    address = page.url
    page.locator(".imgsim-tile .imgsim-open").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f".imgsim-view-place:has-text('1 of {count}')")
    page.keyboard.press("Escape")
    page.reload()
    assert arrive(page) == count
    page.locator(".imgsim-link").first.click()
    page.wait_for_url("**/similar/1")
    page.go_back()
    assert page.url == address and arrive(page) == count
    page.go_back()
    page.wait_for_url(gallery)
    assert page.locator(DIALOG).count() == 0
    other = page.context.new_page()
    other.goto(address)
    assert other.locator(".imgsim-tile").count() == count
    other.close()


@pytest.mark.parametrize(
    "kind,path,target", [("drop", MAP, ".imgsim-map"), ("paste", f"{GALLERY}/similar/3", "body")]
)
def test_it_is_dropped_and_pasted_on_any_page(server, page, file, kind, path, target):
    page.goto(server + path)
    page.wait_for_selector("label:has-text('Use your own image')")
    if kind == "drop":
        give(page, "dragover", file, target=target)
        assert page.locator("body.imgsim-dropping").count() == 1
    give(page, kind, file, target=target)
    arrive(page)


def test_sliders_and_examples_act_on_its_page(server, page, file):
    page.goto(f"{server}{GALLERY}/similar/3?space=three&level_weights=pool3:1")
    page.set_input_files("#imgsim-file", file)
    page.wait_for_url("**/upload/*?space=three&level_weights=pool3:1")
    page.evaluate("window.same = true")
    page.evaluate(
        "() => { const slider = document.querySelector('input[name=conv2_1]'); slider.value = 50;"
        " slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    page.wait_for_url("**level_weights=conv2_1:0.5,pool3:1")
    page.locator(".imgsim-tile").nth(1).get_by_role("link", name="more like").click()
    page.wait_for_selector("[role=status]:has-text('now; more like')")
    assert page.evaluate("window.same") and page.locator(".imgsim-basket li").count() == 1
    links = page.locator(".imgsim-tile .imgsim-link")
    found = links.evaluate_all("all => all.map((a) => a.href)")
    page.reload()
    assert links.evaluate_all("all => all.map((a) => a.href)") == found
    page.go_back()
    page.wait_for_function("() => !document.querySelector('.imgsim-basket li')")


def test_the_dialog_shows_the_picture_and_escape_cancels(server, page, file):
    page.goto(server + GALLERY)
    gallery, held = page.url, []
    page.route("**/upload?name=*", lambda route: held.append(route))
    for end in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.click(f"{DIALOG} >> text=Cancel"),
    ):
        page.focus("#imgsim-file")
        page.set_input_files("#imgsim-file", file)
        dialog = page.get_by_role("dialog", name="Find images like yours")
        dialog.wait_for()
        assert dialog.locator("figcaption").inner_text() == "0.jpg"
        assert page.get_attribute(f"{DIALOG} img", "src").startswith("blob:")
        assert loaded(page, f"{DIALOG} img") and fits(page)
        assert page.evaluate("violations.filter((v) => v[1] !== 'inline')") == []
        while not held:
            page.wait_for_timeout(20)
        box = dialog.bounding_box()
        assert box["y"] > 0 and box["y"] + box["height"] < page.viewport_size["height"]
        end()
        page.wait_for_selector(DIALOG, state="detached")
        page.wait_for_function(f"() => {FOCUSED}.id === 'imgsim-file'")
        held.clear()
    assert page.url == gallery


def test_what_cannot_be_compared_is_said_beside_the_picture(server, page, file, tmp_path):
    empty, big, notes = (tmp_path / name for name in ("empty.jpg", "big.jpg", "notes.txt"))
    empty.touch()
    big.write_bytes(b"x" * 60_000)
    notes.write_text("no picture")
    page.goto(server + MAP)
    page.focus(".imgsim-find input")
    give(page, "paste", target=".imgsim-find input", plain="a word")
    assert page.locator(DIALOG).count() == 0
    for gives, sentence in (
        (lambda: page.set_input_files("#imgsim-file", empty), "empty.jpg is empty"),
        (lambda: page.set_input_files("#imgsim-file", big), "big.jpg is larger than 0.05 MB"),
        (lambda: page.set_input_files("#imgsim-file", notes), "The image cannot be read"),
        (lambda: give(page, "drop", file, big), "One image at a time is compared, and these are 2"),
        (lambda: give(page, "paste", file, big), "One image at a time"),
        (lambda: give(page, "paste", plain="a word"), "This is text, not an image"),
        (lambda: give(page, "paste", plain="https://x.example/a.jpg"), "This is an address"),
        (lambda: give(page, "drop", plain="a word"), "This is text"),
    ):
        gives()
        page.wait_for_selector(f"{SAID}:has-text('{sentence}')")
        assert "imgsim-wrong" in page.get_attribute(SAID, "class") and fits(page)
        assert page.evaluate(f"{FOCUSED}.textContent") == "Choose another image"
        page.click(f"{DIALOG} >> text=Close")
        page.wait_for_selector(DIALOG, state="detached")
        page.wait_for_function(f"() => {FOCUSED}.closest('.imgsim-find')")
    page.evaluate(
        "DataTransferItem.prototype.webkitGetAsEntry = () => ({isDirectory: true, name: 'trip'})"
    )
    give(page, "drop", file)
    page.wait_for_selector(f"{SAID}:has-text('trip is a folder: drop one image of it')")
    with page.expect_file_chooser() as chooser:
        page.click(f"{DIALOG} >> text=Choose another image")
    chooser.value.set_files(file)
    arrive(page)


def test_where_a_picture_is_no_longer_held_another_can_be_chosen(server, page, tmp_path):
    page.add_init_script("window.requestIdleCallback = (then) => setTimeout(then);")
    with page.expect_response(f"**{GALLERY}/upload") as asked:  # for the network, meanwhile
        page.goto(f"{server}{GALLERY}/upload/unknown")
    assert asked.value.ok
    assert "no longer held here" in page.inner_text(".imgsim-note") and fits(page)
    # A format that the browser cannot show: the page has its thumbnail.
    page.set_input_files("#imgsim-file", draw(tmp_path / "scan.tiff"))
    arrive(page)
