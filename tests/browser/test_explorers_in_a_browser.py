"""The explorers react to pointer, keyboard and address with the right picture, also on a phone."""

import re

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


@pytest.mark.parametrize("width", [1280, 390])
def test_a_drawing_is_rebuilt_and_denoised_and_its_code_can_be_set(width, opened):
    page = opened("explore/code.html")
    page.set_viewport_size({"width": width, "height": 844})
    noisy, rebuilt, denoised = errors(page)
    assert denoised < 0.5 * noisy
    assert rebuilt > 2 * denoised  # the noise is too much for the plain autoencoder
    page.fill("#noise", "0")
    assert errors(page)[0] == 0
    assert max(errors(page)) < 0.03
    seen = [page.eval_on_selector("#rebuilt", PICTURE)]
    page.focus("#code input >> nth=2")
    page.keyboard.press("Home")
    seen.append(page.eval_on_selector("#rebuilt", PICTURE))
    again = opened((site.BOOK / "explore/code.html").as_uri() + address(page, "code"))
    assert [each.eval_on_selector("#rebuilt", PICTURE) for each in (page, again)] == [seen[1]] * 2
    assert errors(again) == errors(page)
    page.click("#clear")
    page.mouse.move(*at(page, "paper", 0.52, 0.2))
    page.mouse.down()
    page.mouse.move(*at(page, "paper", 0.48, 0.8), steps=5)
    page.mouse.up()
    seen.append(page.eval_on_selector("#rebuilt", PICTURE))
    assert len(set(seen)) == 3
    assert max(errors(page)) < 0.03


def errors(page):
    """The squared errors with noise, rebuilt and denoised."""
    return [float(number) for number in re.findall(r"\d\.\d{3}", page.inner_text("#errors"))]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_walk_leads_from_one_digit_to_the_other_by_pointer_and_keys(width, opened):
    page = opened("explore/walk.html")
    page.set_viewport_size({"width": width, "height": 844})
    page.fill("#from", "1")
    page.fill("#to", "0")
    page.keyboard.press("Tab")
    assert re.match(r"On the way the CNN reads 1 .* 0\.$", page.inner_text("#readings"))
    page.mouse.move(*at(page, "strip", 0.03, 0.5))
    assert "the way from 1 to 0" in page.inner_text("#where")
    assert "CNN reads 1" in page.inner_text("#where")
    page.focus("#strip")
    for _ in range(10):
        page.keyboard.press("Shift+ArrowRight")
    assert "100 % of the way" in page.inner_text("#where")
    assert "CNN reads 0" in page.inner_text("#where")
    page.fill("#way", "0.5")
    page.fill("#pull", "0")
    assert length(page) > 9
    page.select_option("#path", "line")
    assert length(page) < 8
    again = opened((site.BOOK / "explore/walk.html").as_uri() + address(page, "path"))
    for canvas in ("#made", "#strip"):
        assert again.eval_on_selector(canvas, PICTURE) == page.eval_on_selector(canvas, PICTURE)


def length(page):
    """Of the latent vector at the marked place."""
    return float(re.search(r"length ([\d.]+)", page.inner_text("#where"))[1])


@pytest.mark.parametrize("width", [1280, 390])
def test_a_message_is_written_read_and_changed_letter_by_letter(width, opened):
    page = opened("explore/message.html")
    page.set_viewport_size({"width": width, "height": 844})
    page.fill("#pull", "1")
    page.fill("#message", "3141592653")
    assert page.inner_text("#read") == "The CNN reads 3141592653: 10 of 10 as written."
    page.fill("#pull", "0.2")
    seen = [page.eval_on_selector("#letters", PICTURE)]
    page.mouse.click(*at(page, "letters", 0.1, 0.75))  # the ninth letter
    assert "turned=0000000010" in address(page, "turned")
    page.focus("#letters")
    for key in ("ArrowLeft", "Enter"):
        page.keyboard.press(key)
    assert "turned=0000000110" in address(page, "turned")
    page.evaluate("document.activeElement.blur()")
    seen.append(page.eval_on_selector("#letters", PICTURE))
    again = opened((site.BOOK / "explore/message.html").as_uri() + address(page, "message"))
    assert again.eval_on_selector("#letters", PICTURE) == seen[1] != seen[0]
    page.fill("#message", "31a")
    assert page.inner_text("#read") == "A message consists of digits, and has no a."


@pytest.mark.parametrize("width", [1280, 390])
def test_losses_and_images_of_a_training_are_scrubbed_together(width, opened):
    page = opened("explore/training.html")
    page.set_viewport_size({"width": width, "height": 844})
    assert page.inner_text("#progress").startswith("After epoch 1 of 50")
    seen = [page.eval_on_selector("#pictures", PICTURE)]
    page.mouse.move(*at(page, "curve", 0.96, 0.5))
    assert page.inner_text("#progress").startswith("After epoch 50 of 50")
    seen.append(page.eval_on_selector("#pictures", PICTURE))
    page.select_option("#training", "conv-autoencoder")
    page.focus("#curve")
    page.keyboard.press("Shift+ArrowRight")
    assert page.inner_text("#progress").startswith("After epoch 6 of 30")
    seen.append(page.eval_on_selector("#pictures", PICTURE))
    assert len(set(seen)) == 3
    again = opened((site.BOOK / "explore/training.html").as_uri() + address(page, "epoch"))
    assert again.inner_text("#progress") == page.inner_text("#progress")
    assert again.eval_on_selector("#pictures", PICTURE) == seen[-1]
    page.click("#play")
    page.wait_for_function("document.getElementById('progress').textContent.startsWith('After epoch 30')")
    page.wait_for_function("document.getElementById('play').textContent === 'Play'")
