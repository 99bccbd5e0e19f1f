"""Reviewing a labelling run in a real browser: started, gone through by keys, many at once, and back."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from service_world import add_collection, draw, serving, settings_for, tiny_encoder, until

from base.errors import RunNotFound
from encoder.model.load import build_clip, load_encoder
from encoder.unread import ReadTokens
from glimpse.client import Client
from service.app import create_app
from service.keys import add_key
from training.records.checkpoint import save_model

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

LABELS = ["boat", "house", "tree"]
EVIL = '<img src=x onerror="window.hurt=1">'


def labelled(url: str, labels: list[str], **asked: Any) -> str:
    """A run over the collection, labelled by a job; its id."""
    with Client(url) as client:
        job = client.wait_for(client.start_job("label", collection="pictures", labels=labels, **asked))
        assert job.state == "succeeded", job
        return str(job.report["run"])


@pytest.fixture
def run(url: str) -> Any:
    """A run of which nothing is reviewed yet."""
    made = labelled(url, LABELS)
    yield made
    with Client(url) as client, suppress(RunNotFound):
        client.forget_label_run(made)


def reviewed(url: str, run: str) -> dict[str, int]:
    with Client(url) as client:
        return dict(client.label_run(run).reviewed)


def test_a_collection_is_labelled_and_gone_through_by_keys(opened: Any, url: str) -> None:
    page = opened("/?v=review")
    expect(page.get_by_role("heading", name="Review", exact=True)).to_be_visible()
    page.get_by_role("button", name="Label pictures").click()
    expect(page.get_by_text("Give one label or more")).to_be_visible()
    page.get_by_label("Labels", exact=True).fill("boat, house,tree, boat")
    page.keyboard.press("Enter")
    expect(page.get_by_text("0 of 9 looked at")).to_be_visible()
    run = page.url.partition("run=")[2]
    page.locator("#view-review .menu summary").click()
    save = page.get_by_role("button", name="Save as label set")
    expect(save).to_be_visible()
    page.keyboard.press("Escape")
    expect(save).to_be_hidden()
    page.locator("#view-review .stage").focus()
    with Client(url) as client:
        order = [image.path for image in client.label_run_images(run)]
    shown = page.locator("#view-review .stage img")
    expect(shown).to_have_attribute("alt", order[0].rpartition("/")[2])
    expect(shown).to_have_js_property("naturalWidth", 320)
    for key, far in (("3", 1), ("1", 2), ("Enter", 3), ("n", 4), ("s", 5)):
        page.keyboard.press(key)
        expect(page.get_by_text(f"{far} of 9 looked at")).to_be_visible()
    said = reviewed(url, run)
    assert (said.pop("none"), said.pop("skipped")) == (1, 1)
    assert sum(said.values()) == 3  # corrected, or accepted where the digit is what it was called
    page.keyboard.press("u")
    expect(page.get_by_text("4 of 9 looked at")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(page.get_by_text("3 of 9 looked at")).to_be_visible()
    assert reviewed(url, run) == said
    for far in range(4, 10):
        page.keyboard.press("Enter")
        expect(page.get_by_text(f"{far} of 9 looked at")).to_be_visible()
    expect(page.get_by_role("heading", name="You have been through all of it.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Labels as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert download.value.suggested_filename == f"{run}.csv"
    assert len(rows) == 9
    page.go_back()
    expect(page.get_by_text("9 of 9 looked at")).to_be_visible()  # in the list
    page.get_by_role("button", name="Forget the run").click()
    page.get_by_role("button", name="Forget the run").click()
    expect(page.get_by_text("Nothing is labelled yet")).to_be_visible()


def test_labels_that_the_model_has_never_read_are_told(opened: Any, tiny_config: Path, tmp_path: Path) -> None:
    parts = build_clip(tiny_config)
    read = ReadTokens(frozenset(parts.tokenizer(["a photo picture of boat"]).unique().tolist()))
    save_model(tmp_path / "model", dataclasses.replace(parts, read_tokens=read))
    encoder = load_encoder(tmp_path / "model", "cpu", "fp32")
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 3))
    unread = "1 of 2 labels have words that the model has never read: platypus"
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        page = opened("/?v=review", base=url)
        page.get_by_label("Labels", exact=True).fill("boat, platypus")
        page.keyboard.press("Enter")
        expect(page.get_by_text("0 of 3 looked at")).to_be_visible()
        expect(page.locator("#said-text")).to_have_text(f"{unread}.")
        page.get_by_role("button", name="Library").click()
        expect(page.get_by_role("dialog", name="Library")).to_contain_text(f"3 of 3 · {unread}")
        page.close()


def test_collections_and_labels_are_called_as_people_write_them(opened: Any, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    with serving(create_app(settings_for(tmp_path), encoder)) as url, Client(url) as client:
        client.create_collection("old", title="صور قديمة")
        page = opened("/?v=review", base=url)
        page.get_by_label("Labels", exact=True).fill("قارب, 2 boats")
        page.get_by_role("button", name="Label صور قديمة").click()
        expect(page.get_by_text("There are no pictures in it yet.")).to_be_visible()
        client.add_images("old", draw(tmp_path / "files", 2))
        page.reload()
        page.get_by_label("Labels", exact=True).fill("قارب, 2 boats, c, d, e, f, g")
        page.get_by_role("button", name="Label صور قديمة").click()
        expect(page.get_by_role("heading", name="صور قديمة")).to_be_visible()
        expect(page.locator("#view-review .large .path")).to_have_text("")  # where it is kept
        page.get_by_role("link", name="All runs").click()
        row = page.locator("#view-review .rows li")
        expect(row.get_by_role("link")).to_have_text("صور قديمة")
        expect(row).to_contain_text("2 pictures of the collection صور قديمة · قارب, 2 boats, c, d, e, f and 1 more")
        expect(row.locator("bdi").nth(1)).to_have_text("قارب")
        page.close()  # before what it asks for its jobs


def test_what_a_correction_flipped_is_shown_and_leads_there(opened: Any, url: str, run: str) -> None:
    page = opened(f"/?v=review&run={run}")
    expect(page.get_by_text("0 of 9 looked at")).to_be_visible()
    flips = page.locator("#view-review .flips")
    expect(flips).to_be_hidden()
    for key, far in (("1", 1), ("2", 2), ("3", 3)):
        with page.expect_response("**/review") as answered:
            page.keyboard.press(key)
        expect(page.get_by_text(f"{far} of 9 looked at")).to_be_visible()
    flipped = answered.value.json()
    assert flipped["flipped"], "an example that teaches nothing proves nothing"
    expect(flips).to_contain_text(f"{flipped['flipped']} picture")
    first = flipped["flips"][0]
    flips.get_by_role("button").first.click()
    expect(page.locator("#view-review .stage img")).to_have_attribute("alt", first["path"].rpartition("/")[2])
    expect(page.locator("#view-review .asks")).to_contain_text(first["after"][0])
    page.get_by_role("button", name="None of these").click()
    expect(page.get_by_text("4 of 9 looked at")).to_be_visible()
    with Client(url) as client:
        none = [image.id for image in client.label_run_images(run, reviewed=True, abstained=True)]
    assert none == [first["id"]]


def test_what_somebody_else_has_said_is_neither_overwritten_nor_taken_back(opened: Any, url: str, run: str) -> None:
    page = opened(f"/?v=review&run={run}", expected=("409",))
    expect(page.get_by_text("0 of 9 looked at")).to_be_visible()
    with Client(url) as client:
        first, *_ = client.label_run_images(run)

        def correct(image: Any) -> None:
            label = next(label for label in LABELS if label != image.answers[0]["label"])
            client.review(run, [{"image": image.id, "verdict": "correct", "labels": [label]}])

        correct(first)
        page.keyboard.press("Enter")
        expect(page.locator("#said-text")).to_contain_text("that is kept, and what you said is not")
        shown = page.locator("#view-review .stage img")
        expect(shown).not_to_have_attribute("alt", first.path.rpartition("/")[2])
        assert reviewed(url, run) == {"corrected": 1}
        page.keyboard.press("n")
        expect(page.get_by_text("2 of 9 looked at")).to_be_visible()
        unseen = next(iter(client.label_run_images(run, reviewed=False, order="certain")))
        correct(unseen)
        page.keyboard.press("u")
        expect(page.locator("#said-text")).to_contain_text("nothing is taken back")
        expect(page.get_by_text("3 of 9 looked at")).to_be_visible()
        assert reviewed(url, run) == {"corrected": 2, "none": 1}
        page.keyboard.press("u")  # whoever has seen that may
        expect(page.get_by_text("2 of 9 looked at")).to_be_visible()
        assert reviewed(url, run) == {"corrected": 1, "none": 1}


def test_a_label_set_of_that_name_is_replaced_by_who_says_so(opened: Any, url: str, run: str) -> None:
    page = opened(f"/?v=review&run={run}", expected=("412", "404", "ERR_FAILED"))
    with Client(url) as client:
        client.keep_label_set("theirs", ["a"])
        page.locator("#view-review .menu summary").click()
        page.get_by_label("Name of the label set").fill("theirs")
        page.route("**/v1/label-sets/theirs", lambda asked: asked.abort())  # nobody can tell what is there
        page.get_by_role("button", name="Save as label set").click()
        expect(page.locator("#said-text")).to_contain_text("The service does not answer")
        expect(page.get_by_role("button", name="Replace it")).to_be_hidden()
        page.unroute("**/v1/label-sets/theirs")
        page.get_by_role("button", name="Save as label set").click()
        expect(page.locator("#said-text")).to_contain_text("There is a label set of this name already")
        assert client.label_set("theirs").labels == ["a"]
        replace = page.get_by_role("button", name="Replace it")
        expect(replace).to_be_visible()
        client.keep_label_set("theirs", ["a", "b"])  # which is not what was there when it was offered
        replace.click()
        expect(page.locator("#said-text")).to_contain_text("Somebody has changed the label set theirs")
        assert client.label_set("theirs").labels == ["a", "b"]
        client.delete_label_set("theirs")
        replace.click()
        expect(page.locator("#said-text")).to_contain_text("The label set theirs is gone meanwhile")
        client.keep_label_set("theirs", ["c"])  # whoever else has it anew meanwhile
        page.get_by_role("button", name="Save as label set").click()
        expect(page.locator("#said-text")).to_contain_text("There is a label set of this name already")
        assert client.label_set("theirs").labels == ["c"]
        replace.click()
        expect(page.locator("#said-text")).to_contain_text("are kept as the label set theirs")
        assert client.label_set("theirs").labels == LABELS
        client.delete_label_set("theirs")


def test_two_who_review_a_run_see_what_the_other_has_said(opened: Any, url: str, run: str) -> None:
    one, other = (
        opened(f"/?v=review&run={run}", expected=("404",)),
        opened(f"/?v=review&run={run}", expected=("404", "409")),
    )
    names = []
    for page in (one, other):
        shown = page.locator("#view-review .stage.there img")
        expect(shown).to_be_visible()
        names.append(shown.get_attribute("alt"))
    assert names[0] == names[1]
    other.keyboard.press("n")
    expect(other.get_by_text("1 of 9 looked at")).to_be_visible()
    one.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # who comes back is not asked the same
    expect(one.get_by_text("1 of 9 looked at")).to_be_visible()
    expect(one.locator("#view-review .stage img")).not_to_have_attribute("alt", names[0])
    other.keyboard.press("u")  # it is there again, and wanted
    expect(other.get_by_text("0 of 9 looked at")).to_be_visible()
    expect(other.locator("#view-review .stage img")).to_have_attribute("alt", names[0])
    one.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(one.get_by_text("0 of 9 looked at")).to_be_visible()
    with Client(url) as client:
        said = [image for image in client.label_run_images(run) if image.path.endswith(names[0])]
        client.review(run, [{"image": said[0].id, "verdict": "skip"}])
        other.keyboard.press("n")
        expect(other.locator("#said-text")).to_contain_text("that is kept, and what you said is not")
        expect(other.locator("#view-review .stage img")).not_to_have_attribute("alt", names[0])
        assert reviewed(url, run) == {"skipped": 1}
        client.forget_label_run(run)
        one.keyboard.press("n")
        expect(one.get_by_role("heading", name="There is no such run")).to_be_visible()
        other.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(other.get_by_role("heading", name="There is no such run")).to_be_visible()


def test_two_who_review_a_run_do_the_same_work_once_at_most(opened: Any, url: str, run: str) -> None:
    one, other = (opened(f"/?v=review&run={run}", expected=("409",)) for _ in range(2))
    shown = "#view-review .stage.there img"
    for page in (one, other):
        expect(page.locator(shown)).to_be_visible()
    seen: list[list[str]] = [[], []]
    for far in range(4):
        for page, names in ((one, seen[0]), (other, seen[1])):
            expect(page.locator(shown)).to_be_visible()
            names.append(page.locator(shown).get_attribute("alt"))
            page.keyboard.press("n")
            if far == 0 and page is other:  # who notices goes on elsewhere
                expect(page.locator("#said-text")).to_contain_text("You go on at other pictures than they.")
            until(lambda page=page, names=names: page.locator(shown).get_attribute("alt") != names[-1])
            page.network.rests()
    assert seen[0][0] == seen[1][0]
    assert not set(seen[0][1:]) & set(seen[1][1:])
    until(lambda: reviewed(url, run) == {"none": 7})


def test_the_surest_are_accepted_at_once_as_many_as_the_slider_says(opened: Any, url: str, run: str) -> None:
    page = opened(f"/?v=review&run={run}")
    page.get_by_text("Accept the surest at once").click()
    slider = page.get_by_role("slider")
    expect(page.get_by_text("Of 9 pictures that nobody has looked at.")).to_be_visible()
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    button = page.get_by_role("button", name="Accept 4 pictures")
    expect(page.get_by_text("this is the least sure of them")).to_be_visible()
    expect(page.locator("#view-review .least img")).not_to_have_js_property("naturalWidth", 0)
    button.click()
    expect(page.get_by_text("4 of 9 looked at")).to_be_visible()
    assert reviewed(url, run) == {"by rule": 4}
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("0 of 9 looked at")).to_be_visible()
    assert reviewed(url, run) == {}


def test_several_labels_are_toggled_and_said_together(opened: Any, url: str) -> None:
    run = labelled(url, LABELS, mode="multi")
    page = opened(f"/?v=review&run={run}")
    label = page.locator("#view-review .labels button")
    expect(label).to_have_count(3)
    expect(label.first.locator(".score")).not_to_be_empty()  # the first picture is there, and what it is taken for
    before = [button.get_attribute("aria-pressed") for button in label.all()]
    for key in ("1", "2", "3"):
        page.keyboard.press(key)
    expect(label.first).not_to_have_attribute("aria-pressed", str(before[0]))
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 9 looked at")).to_be_visible()
    with Client(url) as client:
        [image] = client.label_run_images(run, reviewed=True)
        wanted = {name for name, pressed in zip(LABELS, before, strict=True) if pressed == "false"}
        assert {answer["label"] for answer in image.answers} == wanted
        client.forget_label_run(run)


def test_labels_that_are_toggled_stay_so_when_the_picture_before_is_kept(opened: Any, url: str) -> None:
    run = labelled(url, LABELS, mode="multi")
    page = opened(f"/?v=review&run={run}")
    label, stage = page.locator("#view-review .labels button"), page.locator("#view-review .stage")
    expect(page.locator("#view-review .stage.there img")).to_be_visible()
    far = page.locator("#view-review .so-far p")
    held: list[Any] = []
    page.route("**/review", lambda asked: held.append(asked))
    stage.focus()
    page.keyboard.press("n")
    before = [button.get_attribute("aria-pressed") for button in label.all()]
    page.keyboard.press("1")
    page.keyboard.press("3")
    wanted = [str(pressed == "false").lower() if i != 1 else pressed for i, pressed in enumerate(before)]
    until(lambda: held or page.wait_for_timeout(20))
    told = far.inner_text()
    with page.expect_response("**/images?reviewed=false**"):
        held[0].continue_()
    expect(far).not_to_have_text(told)
    assert [button.get_attribute("aria-pressed") for button in label.all()] == wanted
    with page.expect_response("**/images?reviewed=false**"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(200)
    assert [button.get_attribute("aria-pressed") for button in label.all()] == wanted
    with Client(url) as client:
        client.forget_label_run(run)


def test_pictures_of_one_label_alone_and_a_label_among_many(opened: Any, url: str) -> None:
    run = labelled(url, [f"label {i}" for i in range(12)])
    with Client(url) as client:
        counts = client.label_run(run).per_label
    label, images = next(iter(counts.items()))
    page = opened(f"/?v=review&run={run}")
    page.get_by_label("Which pictures").select_option(label)
    expect(page.locator("#view-review .work[aria-busy=false]")).to_be_visible()
    expect(page.locator("#view-review .asks")).to_contain_text(label)
    assert "of=label" in page.url
    for far in range(1, images + 1):
        page.keyboard.press("s")
        expect(page.get_by_text(f"{far} of 9 looked at")).to_be_visible()
    expect(page.get_by_role("heading", name=f"No picture is left that is called {label}.")).to_be_visible()
    page.get_by_role("button", name="All pictures").click()
    if images < 9:
        expect(page.locator("#view-review .stage.there")).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type("label 11")
        page.keyboard.press("Enter")
        expect(page.get_by_text(f"{images + 1} of 9 looked at")).to_be_visible()
        assert reviewed(url, run).keys() <= {"skipped", "corrected", "accepted"}
    with Client(url) as client:
        client.forget_label_run(run)


def test_long_labels_and_titles_keep_within_their_place(opened: Any, url: str) -> None:
    title = "the harbour in the evening, seen from the hill"
    with Client(url) as client:
        client.set_title("pictures", title)
    run = labelled(url, ["a lighthouse on a rock in a storm at night " * 4, *(f"label {i}" for i in range(20))])
    page = opened(f"/?v=review&run={run}")
    expect(page.locator("#view-review .stage.there img")).to_be_visible()
    parts = page.locator("#view-review .panel > *:not([hidden])")
    boxes = [parts.nth(i).evaluate("(part) => [part.offsetTop, part.scrollHeight]") for i in range(parts.count())]
    assert all(top + tall <= below for (top, tall), (below, _) in itertools.pairwise(boxes)), boxes
    page = opened("/?v=review", width=360)
    expect(page.get_by_role("button", name=f"Label {title}")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with Client(url) as client:
        client.set_title("pictures", None)
        client.forget_label_run(run)


def test_on_a_phone_a_label_has_the_breadth_of_its_button(opened: Any, run: str) -> None:
    page = opened(f"/?v=review&run={run}", width=360, has_touch=True, is_mobile=True)
    expect(page.locator("#view-review .stage.there img")).to_be_visible()
    for label in page.get_by_role("list", name="Labels").locator(".label").all():
        assert label.bounding_box()["width"] > 180


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (360, "dark")])
def test_it_is_for_everybody(opened: Any, axe: Any, run: str, width: int, theme: str) -> None:
    page = opened("/?v=review", width=width, theme=theme)
    expect(page.get_by_text("0 of 9 looked at")).to_be_visible()
    axe(page)
    page.goto(f"/?v=review&run={run}")
    expect(page.locator("#view-review .stage.there")).to_be_visible()
    expect(page.get_by_text("More", exact=True)).to_be_in_viewport(ratio=1)
    page.get_by_text("Accept the surest at once").click()
    expect(page.get_by_text("Of 9 pictures that nobody has looked at.")).to_be_visible()
    axe(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_names_are_text_and_nothing_more(browser: Any, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    folder = draw(tmp_path / "files", 3)[0].parent
    evil = folder / EVIL.replace("/", "")
    sorted(folder.iterdir())[0].rename(f"{evil}.png")
    add_collection(tmp_path, encoder, sorted(folder.iterdir()))
    with serving(create_app(settings_for(tmp_path, job_roots=[str(folder)]), encoder)) as url:
        run = labelled(url, [EVIL, "house"])
        page = browser.new_page(base_url=url)
        page.goto(f"/?v=review&run={run}")
        expect(page.locator("#view-review .labels")).to_contain_text(EVIL)
        expect(page.locator("#view-review .stage.there")).to_be_visible()
        for _ in range(3):
            page.keyboard.press("1")
        expect(page.get_by_text("3 of 3 looked at")).to_be_visible()
        page.goto("/?v=review")
        expect(page.locator("#view-review .facts")).to_contain_text(EVIL)
        assert page.evaluate("window.hurt") is None
        page.close()


def test_what_is_accepted_at_once_is_what_the_button_says(opened: Any, run: str) -> None:
    page = opened(f"/?v=review&run={run}")
    page.get_by_text("Accept the surest at once").click()
    expect(page.get_by_text("Of 9 pictures that nobody has looked at.")).to_be_visible()
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Accept 9 pictures")).to_be_enabled()
    page.route("**/bars?label=*", lambda route: None)  # it is long in coming
    page.get_by_label("Which pictures").select_option("boat")
    expect(page.locator("#view-review .bulk button")).to_be_disabled()
    expect(page.get_by_role("button", name="Accept 9 pictures")).to_be_hidden()
    page.close()


def test_a_late_answer_leaves_the_slider_where_it_was_moved_to(opened: Any, run: str) -> None:
    page = opened(f"/?v=review&run={run}")
    expect(page.locator("#view-review .stage.there")).to_be_visible()
    surest = page.get_by_text("Accept the surest at once")
    surest.click()
    expect(page.get_by_text("Of 9 pictures that nobody has looked at.")).to_be_visible()
    surest.click()
    held: list[Any] = []
    page.route("**/bars*", lambda asked: held.append(asked))
    surest.click()
    until(lambda: page.wait_for_timeout(20) or held)
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Accept 9 pictures")).to_be_enabled()
    with page.expect_response("**/bars*"):
        held[0].continue_()
    page.wait_for_timeout(200)
    expect(page.get_by_role("button", name="Accept 9 pictures")).to_be_enabled()


def test_a_late_answer_of_another_label_shows_nothing(opened: Any, run: str) -> None:
    page = opened(f"/?v=review&run={run}")
    expect(page.locator("#view-review .stage.there")).to_be_visible()
    name = page.locator("#view-review .path").inner_text()
    held: list[Any] = []
    page.route("**/images?*abstained=true*", lambda route: held.append(route))
    page.get_by_label("Which pictures").select_option("without a label")
    until(lambda: page.wait_for_timeout(20) or held)
    page.get_by_label("Which pictures").select_option("all pictures")
    expect(page.locator("#view-review .work[aria-busy=false]")).to_be_visible()
    expect(page.locator("#view-review .path")).to_have_text(name)
    with page.expect_response("**/images?*abstained=true*"):
        held[0].continue_()
    page.wait_for_timeout(200)
    expect(page.locator("#view-review .path")).to_have_text(name)
    expect(page.locator("#view-review .work")).to_be_visible()


def test_a_reader_looks_on_and_who_may_write_reviews(browser: Any, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 3))
    app = create_app(settings_for(tmp_path, job_roots=[str(tmp_path / "files")]), encoder)
    with serving(app) as url:
        run = labelled(url, LABELS)
        keys = {scope: add_key(tmp_path, scope, scope) for scope in ("read", "admin")}
        for scope in ("read", "admin"):
            page = browser.new_page(base_url=url)  # the browser logs the 401 and the 403
            page.goto(f"/?v=review&run={run}")
            page.get_by_label("Key", exact=True).fill(keys[scope])
            page.keyboard.press("Enter")
            expect(page.locator("#view-review .stage img")).to_have_js_property("naturalWidth", 320)
            posted: list[str] = []
            page.on("request", lambda one, posted=posted: posted.append(one.url) if one.method == "POST" else None)
            page.locator("#view-review .stage").focus()
            page.keyboard.press("n")
            if scope == "read":
                expect(page.get_by_role("button", name="Accept")).to_have_count(0)
                expect(page.get_by_text("0 of 3 looked at")).to_be_visible()
                assert posted == []
            else:
                expect(page.get_by_text("1 of 3 looked at")).to_be_visible()
                for key, far in (("u", 0), ("n", 1)):  # what was seen before is shown again
                    expect(page.locator("#view-review .stage.there img")).to_have_js_property("naturalWidth", 320)
                    page.keyboard.press(key)
                    expect(page.get_by_text(f"{far} of 3 looked at")).to_be_visible()
                    expect(page.locator("#view-review .stage.there img")).to_have_js_property("naturalWidth", 320)
            page.close()
        with Client(url, keys["admin"]) as client:
            until(lambda: client.label_run(run).reviewed == {"none": 1})


def test_where_nothing_may_be_written_a_click_takes_no_picture_away(browser: Any, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 4))
    with serving(create_app(settings_for(tmp_path), encoder)) as url:
        run = labelled(url, LABELS)
    with serving(create_app(settings_for(tmp_path, read_only=True), encoder)) as url:
        page = browser.new_page(base_url=url)
        page.goto(f"/?v=review&run={run}")
        shown = page.locator("#view-review .stage img")
        expect(shown).not_to_have_js_property("naturalWidth", 0)
        name = shown.get_attribute("alt")
        for label in LABELS:
            page.locator(f"#view-review .labels button[data-label={label}]").click()
        page.wait_for_timeout(200)
        assert shown.get_attribute("alt") == name
        page.close()


def test_a_run_that_is_gone_is_said(opened: Any) -> None:
    page = opened("/?v=review&run=gone", expected=("404",))
    expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()
    page.get_by_role("link", name="All runs").click()
    expect(page.get_by_role("heading", name="Review", exact=True)).to_be_visible()


@pytest.mark.parametrize("act", ["Undo", "Labels as CSV"])
def test_a_run_that_goes_is_let_go_of_whatever_is_done_with_it(opened: Any, url: str, run: str, act: str) -> None:
    page = opened(f"/?v=review&run={run}", expected=("404",))
    expect(page.locator("#view-review .stage.there img")).to_be_visible()
    page.get_by_role("button", name="None of these").click()
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    page.network.rests()
    with Client(url) as client:
        client.forget_label_run(run)
    if act != "Undo":
        page.locator("#view-review .menu summary").click()
    page.get_by_role("button", name=act).click()
    expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()


def test_what_is_not_kept_of_a_review_that_was_left_is_told(opened: Any, url: str, run: str) -> None:
    page = opened(f"/?v=review&c=pictures&run={run}", expected=("503",))
    expect(page.get_by_text("0 of 9 looked at")).to_be_visible()
    held: list[Any] = []
    page.route("**/review", lambda asked: held.append(asked))
    page.locator("#view-review .stage").focus()
    for key in ("1", "2", "3"):
        page.keyboard.press(key)
    while not held:
        page.wait_for_timeout(20)
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", name="No folder of training runs")).to_be_visible()
    held[0].fulfill(status=503, json={"error": {"message": "the service stops"}})
    expect(page.locator("#said-text")).to_contain_text(
        "What was said of 3 pictures last was not kept: the service stops"
    )
    assert reviewed(url, run) in ({}, dict.fromkeys(LABELS, 0))
