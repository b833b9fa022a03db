"""The explorers react to pointer, keyboard and address with the right picture, also on a phone."""

import pytest

from workbook.tools import site

pytestmark = pytest.mark.browser
PICTURE = "canvas => canvas.toDataURL()"


def address(page, name):
    """The state that the page writes into its address, once it has."""
    page.wait_for_function(f"location.hash.includes('{name}=')")
    page.wait_for_timeout(400)
    return page.evaluate("location.hash")


def at(page, name, x, y):
    """The place in a canvas, from 0 to 1 each, in pixels of the window."""
    page.locator(f"#{name}").scroll_into_view_if_needed()
    box = page.locator(f"#{name}").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_plane_is_decoded_under_the_pointer_by_keys_and_from_the_address(width, opened):
    page = opened("explore/plane.html")
    page.set_viewport_size({"width": width, "height": 844})
    seen = [page.eval_on_selector("#decoded", PICTURE)]
    page.mouse.move(*at(page, "map", 0.3, 0.4))
    seen.append(page.eval_on_selector("#decoded", PICTURE))
    assert "-1.4" in page.inner_text("#where")
    page.focus("#map")
    page.keyboard.press("Shift+ArrowRight")
    seen.append(page.eval_on_selector("#decoded", PICTURE))
    page.fill("#second", "-2")
    seen.append(page.eval_on_selector("#decoded", PICTURE))
    assert len(set(seen)) == 4
    again = opened((site.BOOK / "explore/plane.html").as_uri() + address(page, "z"))
    assert again.eval_on_selector("#decoded", PICTURE) == seen[-1]
    assert page.inner_text("#where") == again.inner_text("#where")


def test_a_drawn_one_is_read_as_a_one_with_the_mouse_with_keys_and_from_the_address(opened):
    page = opened("explore/digit.html")
    page.mouse.move(*at(page, "paper", 0.52, 0.2))
    page.mouse.down()
    page.mouse.move(*at(page, "paper", 0.48, 0.8), steps=5)
    page.mouse.up()
    assert "CNN reads 1 (" in page.inner_text("#reading")
    again = opened((site.BOOK / "explore/digit.html").as_uri() + address(page, "drawn"))
    assert again.inner_text("#reading") == page.inner_text("#reading")
    page.click("#clear")
    assert page.inner_text("#reading") == "Nothing is drawn yet."
    page.focus("#paper")
    for key in ["ArrowUp"] * 8 + [" "] + ["ArrowDown"] * 16:
        page.keyboard.press(key)
    assert "CNN reads 1 (" in page.inner_text("#reading")


def test_the_gan_trains_pauses_and_shows_the_same_to_whom_the_address_is_sent(opened):
    page = opened("explore/spots.html")
    page.fill("#spots", "4")
    page.click("#one")
    first = page.inner_text("#progress")
    assert first.startswith("After 1 steps")
    page.click("#train")
    page.wait_for_function("!document.getElementById('progress').textContent.startsWith('After 1 ')")
    page.click("#train")
    state = address(page, "steps")
    again = opened((site.BOOK / "explore/spots.html").as_uri() + state)
    again.wait_for_function(
        "said => document.getElementById('progress').textContent === said", arg=page.inner_text("#progress")
    )
    assert "spots=4" in state
