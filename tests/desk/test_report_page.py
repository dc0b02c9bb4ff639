"""The page of a report in a real browser: real clicks, keys and touches, no network."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.browser import TAB, Browser, browser
from support.made_archive import MadeDeployment
from support.made_report import HOSTILE, SILENT, many, week

from edge_probe.cli import main
from edge_probe.desk.corrections import read_corrections

TIT = "Parus major_Great Tit"
KEYS = SimpleNamespace(
    enter="\ue007", escape="\ue00c", space="\ue00d", left="\ue012", right="\ue014"
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return week(tmp_path_factory.mktemp("week") / "archive")


@pytest.fixture(scope="module")
def page(archive: Path) -> Path:
    """A report of it."""
    target = archive.parent / "report"
    words = ["--per-class", "3", "--windows", "12"]
    assert main(["report", str(archive), "-o", str(target), *words]) == 0
    return target / "index.html"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as found:
        yield found


def held(page: Path) -> dict[str, Any]:
    """What a page holds."""
    found: dict[str, Any] = json.loads(
        re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1]  # type: ignore[index]
    )
    return found


def listen(desk: Browser, page: Path, name: str = "Great Tit") -> None:
    desk.open(page, "listen")
    desk.choose("#filter-class", name)
    desk.click("#start-review")
    desk.find("#question")


def test_every_part_draws_itself_from_the_disk_alone(desk: Browser, page: Path) -> None:
    desk.open(page)
    for link in ("Detections", "Health", "Listen", "Save", "Overview"):
        desk.click_text("nav a", link)
        assert desk.find("main h2").text
    desk.choose("#filter-deployment", "alder-carr")
    assert "recorded" in desk.find("main").text
    listen(desk, page)
    desk.until(lambda: desk.js("return document.querySelector('audio').readyState > 0"))
    asked = desk.asked()
    assert any(one.endswith(".flac") for one in asked)
    assert any(one.endswith(".webp") for one in asked)
    assert {one.split(":")[0] for one in asked} <= {"file", "blob", "data"}
    outside = [one for one in asked if one.startswith("file:") and page.parent.as_uri() not in one]
    assert not outside
    assert not desk.complaints()


def test_the_policy_of_the_page_lets_nothing_out(desk: Browser, page: Path) -> None:
    desk.open(page)
    desk.asked()
    desk.js(
        "new Image().src = 'http://192.0.2.1/a.png'; fetch('http://192.0.2.1/b').catch(() => 0);"
        "const s = document.createElement('script'); s.textContent = 'document.title = \"in\"';"
        "document.body.append(s)"
    )
    assert len(desk.until(lambda: [one for one in desk.complaints() if "192.0.2.1" in one])) >= 1
    assert not [one for one in desk.asked() if one.startswith("http")]
    assert desk.driver.title != "in"


def test_labels_stay_text(desk: Browser, page: Path) -> None:
    """Whatever is in them; they are in tables, selects, questions, and the file."""
    desk.open(page, "detections")
    common = HOSTILE.partition("_")[2]
    assert any(common in text for text in desk.texts("table .species"))
    assert not desk.driver.find_elements("css selector", "main b, main img")
    listen(desk, page, common[:12])
    assert common in desk.find("#question").text
    desk.press("1")
    desk.open(page, "save")
    desk.click("#save-file")
    assert read_corrections([desk.downloaded()])[0].label == HOSTILE
    desk.open(page, "constructor")
    assert desk.find("h2").text == "Effort and gaps"
    desk.open(page, "health")
    assert "clipped <b>: lower" in desk.find("main").text
    assert desk.driver.title == "3 deployments · edge-probe report"
    assert not desk.complaints()


def test_what_is_clicked_is_what_the_file_says(desk: Browser, page: Path) -> None:
    listen(desk, page)
    data = held(page)
    n_windows, of_class = len(data["windows"]), desk.find("#progress").text
    n_items = sum(1 for one in data["items"] if data["classes"][one["class"]]["label"] == TIT)
    assert of_class == f"1 of {n_items + n_windows} · 0 reviewed"
    desk.click(".verdict.correct")
    desk.click(".verdict.wrong")
    desk.click(".verdict.unsure")
    desk.click(".verdict.other")
    desk.press("Sitta europaea_Eurasian Nuthatch")
    desk.click_text("#other button", "That it is")
    desk.click("#before")
    assert "you said: Sitta europaea_Eurasian Nuthatch" in desk.find("#item-facts").text
    assert desk.find(".verdict.other").get_attribute("aria-pressed") == "true"
    desk.click("#before")
    desk.click("#take-back")
    desk.click(".verdict.wrong")
    desk.choose("#queue", "random windows")
    assert "probability" not in desk.find("#item-facts").text
    assert not desk.driver.find_elements("css selector", ".picture .box")
    assert not desk.find("#show-boxes").is_enabled()
    desk.click(".verdict.correct")
    desk.click_text("nav a", "Save")
    desk.find("#reviewer").send_keys("Ada Löv")
    desk.click("#save-file")
    path = desk.downloaded()
    assert "went to your downloads" in desk.find("#saved").text
    told = json.loads(path.read_text("utf-8"))
    assert (told["format"], told["version"]) == ("edge-probe corrections", 1)
    assert told["reviewer"] == "Ada Löv"
    found = read_corrections([path])
    items = [one for one in data["items"] if data["classes"][one["class"]]["label"] == TIT]
    items.sort(key=lambda one: -float(one["logit"]))
    verdicts = {(one.start_sample, one.verdict, one.other_label) for one in found[:-1]}
    assert verdicts == {
        (items[0]["start"], "correct", None), (items[1]["start"], "wrong", None),
        (items[2]["start"], "wrong", None),
        (items[3]["start"], "other", "Sitta europaea_Eurasian Nuthatch"),
    }  # fmt: skip
    said = sorted(found[:-1], key=lambda one: one.start_sample)
    asked = sorted(items[:4], key=lambda one: int(one["start"]))
    for one, item in zip(said, asked, strict=True):
        clip = data["clips"][item["clip"]]
        assert (one.end_sample, one.logit) == (item["end"], item["logit"])
        assert one.deployment_id == data["deployments"][clip["deployment"]]["id"]
        assert (one.boot, one.stream, one.rate_hz) == (clip["boot"], clip["stream"], clip["rate"])
        assert (one.draw, one.probability, one.label) == ("detection", None, TIT)
    window = next(one for one in data["windows"] if one["kind"] == "random")
    assert (found[-1].draw, found[-1].verdict) == ("random", "correct")
    assert found[-1].start_sample == window["start"]
    assert found[-1].probability == window["probability"]
    klass = [one["label"] for one in data["classes"]].index(TIT)
    assert found[-1].logit == dict(window["logits"])[klass]


def test_verdicts_outlive_the_page_and_go_into_another_browser(
    desk: Browser, page: Path, tmp_path: Path
) -> None:
    listen(desk, page)
    desk.press("1", "2")
    desk.reload()
    desk.open(page, "save")
    assert desk.find("#unsaved").text == "2"
    desk.click("#save-file")
    desk.until(lambda: not desk.js("return document.querySelector('#unsaved').offsetParent"))
    saved = desk.downloaded()
    (tmp_path / "other").mkdir()
    with browser(tmp_path / "other") as other:
        listen(other, page)
        other.press("4", "4", "4")
        other.open(page, "save")
        other.find("#load-file").send_keys(str(saved))
        other.until(lambda: "taken up" in other.find("#saved").text)
        assert "2 older than what you said here" in other.find("#saved").text
        other.click_text("button", "Forget all")
        other.click("#forget")
        other.until(lambda: other.find("#saved").text == "Forgotten.")
        other.find("#load-file").send_keys(str(saved))
        other.until(lambda: other.find("#saved").text == "2 verdicts taken up")
        other.click("#save-file")
        again = read_corrections([other.downloaded()])
    assert again == read_corrections([saved])


@pytest.mark.parametrize(("change", "why"), [
    ({"format": "selections"}, "it is no corrections file"),
    ({"version": 2}, "expected version 1, found 2"),
    ({"deployment_id": "elsewhere"}, "deployment elsewhere is not in this report"),
    ({"bundle_sha256": "ab" * 32}, "it is of another bundle, abababababab"),
    ({"verdict": "constructor"}, "unknown verdict constructor"),
    ({"verdict": "other", "other_label": "_"}, "other_label is no label"),
    (None, "JSON"),
])  # fmt: skip
def test_a_file_that_cannot_be_meant_is_refused(
    page: Path, tmp_path: Path, change: dict[str, Any] | None, why: str, shared_desk: Browser
) -> None:
    data = held(page)
    entry = {
        "deployment_id": "alder-carr", "bundle_sha256": data["bundles"][0]["sha256"], "boot": 1,
        "stream": 1, "channel": 0, "start_sample": 0, "end_sample": 9, "rate_hz": 16000,
        "label": TIT, "verdict": "correct", "other_label": None, "logit": 1.0,
        "draw": "detection", "probability": None, "reviewed_utc": "2026-05-09T00:00:00Z",
    }  # fmt: skip
    told = {"format": "edge-probe corrections", "version": 1, "made_utc": "2026-05-09T00:00:00Z",
            "reviewer": "", "corrections": [entry]}  # fmt: skip
    for key, value in (change or {}).items():
        (told if key in told else entry)[key] = value
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(told)[: None if change else 40])
    shared_desk.open(page, "save")
    shared_desk.find("#load-file").send_keys(str(path))
    shared_desk.until(lambda: why in shared_desk.find("#saved").text)
    assert "mine.json: not loaded" in shared_desk.find("#saved").text
    assert shared_desk.texts("main .notice") == ["No verdict yet: choose a class under Listen."]


@pytest.fixture(scope="module")
def shared_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("desk")) as found:
        yield found


def test_what_another_report_asked_is_kept_and_saved_again(
    desk: Browser, page: Path, archive: Path, tmp_path: Path
) -> None:
    """Such as one of the same archive that chose others."""
    words = ["--per-class", "3", "--windows", "12", "--seed", "5"]
    assert main(["report", str(archive), "-o", str(tmp_path / "other"), *words]) == 0
    listen(desk, tmp_path / "other" / "index.html")
    for _ in range(20):
        desk.press("1")
    desk.open(tmp_path / "other" / "index.html", "save")
    desk.click("#save-file")
    theirs = desk.downloaded().rename(tmp_path / "theirs")
    listen(desk, page)
    desk.press("4")
    desk.open(page, "save")
    desk.find("#load-file").send_keys(str(theirs))
    desk.until(lambda: "of what this report does not show" in desk.find("#saved").text)
    desk.click("#save-file")
    both = read_corrections([desk.downloaded()])
    assert {one.item for one in read_corrections([theirs])} <= {one.item for one in both}
    assert sum(one.verdict == "unsure" for one in both) == 1


def test_the_keyboard_is_enough(desk: Browser, page: Path) -> None:
    """From the address line to a saved file, and the focus is always seen."""
    desk.open(page)
    desk.press(TAB)
    assert desk.focus() == "a skip Skip to the content"
    assert desk.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    desk.tab_to("Listen")
    desk.press(KEYS.enter)
    desk.until(lambda: desk.focus().startswith("h2"))
    desk.tab_to("Great Tit")
    desk.press(KEYS.enter)
    desk.until(lambda: "Listen to Great Tit" in desk.find("main").text)
    desk.tab_to("start-review")
    desk.press(KEYS.enter)
    desk.until(lambda: "question" in desk.focus())
    desk.js("document.querySelector('audio').loop = true")  # a slow machine is past its end
    desk.press("1", "2", KEYS.right, KEYS.left, "b")
    assert desk.find("#progress").text.startswith("3 of")
    assert not desk.driver.find_elements("css selector", ".picture .box")
    desk.press("b", "3", "Song Thrush", KEYS.enter)
    desk.until(lambda: desk.find("#progress").text.startswith("4 of"))
    desk.press("3", "1", KEYS.escape)
    assert "3 reviewed" in desk.find("#progress").text
    desk.press(KEYS.space)
    assert desk.js("return document.querySelector('audio').paused")
    desk.press(KEYS.space)
    desk.until(lambda: not desk.js("return document.querySelector('audio').paused"))
    desk.press(KEYS.left, "0")
    assert "2 reviewed" in desk.find("#progress").text
    desk.press("3", " ", KEYS.enter)
    assert "A label is one line" in desk.find("#other-error").text
    desk.press(KEYS.escape, KEYS.escape)
    desk.until(lambda: "Listen to Great Tit" in desk.find("main").text)
    desk.tab_to("Save")
    desk.press(KEYS.enter)
    desk.until(lambda: desk.js("return location.hash") == "#save")
    desk.tab_to("save-file")
    desk.press(KEYS.enter)
    assert [one.verdict for one in read_corrections([desk.downloaded()])] == ["correct", "wrong"]


def test_names_and_roles_for_those_who_do_not_see_it(desk: Browser, page: Path) -> None:
    for view in ("overview", "detections", "health", "listen", "save"):
        desk.open(page, view)
        nameless = desk.js(
            "return [...document.querySelectorAll('main button, main a, main input, select')]"
            ".filter(e => e.offsetParent && !e.textContent.trim() && !e.labels?.length"
            " && !e.getAttribute('aria-label')).map(e => e.outerHTML)"
        )
        assert not nameless, view
        assert desk.js(
            "return [...document.querySelectorAll('main table')].every(e => e.caption.textContent)"
        )
        assert desk.js(
            "return [...document.querySelectorAll('main figure svg[role=img]')]"
            ".every(e => e.getAttribute('aria-label'))"
        )
    listen(desk, page)
    assert "Spectrogram of" in str(desk.find(".picture img").get_attribute("alt"))
    assert desk.find("#progress").get_attribute("role") == "status"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read(tmp_path: Path, page: Path, dark: bool) -> None:
    """Contrast of 4.5 to 1 at least (WCAG 2.2, AA), by what the browser says of every text."""
    with browser(tmp_path, dark=dark) as desk:
        for view in ("overview", "detections", "health", "listen", "save"):
            desk.open(page, view)
            faint = desk.js(CONTRAST)
            assert not faint, (view, faint)
        listen(desk, page)
        assert not desk.js(CONTRAST)


CONTRAST = """
const light = (text) => {
  const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c)) return c;
  }
  return 'rgb(255, 255, 255)';
};
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walk.nextNode(); node; node = walk.nextNode()) {
  const e = node.parentElement;
  if (!node.textContent.trim() || !e.checkVisibility()) continue;
  if (e.closest('script, style, :disabled, option')) continue;
  const style = getComputedStyle(e);
  const a = light(e.ownerSVGElement ? style.fill : style.color), b = light(ground(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push([node.textContent.slice(0, 30), ratio.toFixed(2)]);
}
return found;
"""


def test_a_phone_is_wide_enough(tmp_path: Path, page: Path) -> None:
    with browser(tmp_path, 360, 640, phone=True) as phone:
        for view in ("overview", "detections", "health", "listen", "save"):
            phone.open(page, view)
            assert phone.width() == (360, 360), view
        phone.open(page, "listen")
        phone.choose("#filter-class", "Great Tit")
        assert phone.width() == (360, 360)
        phone.js("document.getElementById('start-review').scrollIntoView()")
        tap(phone, "#start-review")
        phone.find("#question")
        assert phone.width() == (360, 360)
        low = phone.js(
            "return document.querySelector('.steps').getBoundingClientRect().bottom + scrollY"
        )
        assert low <= 640, "picture, question, verdicts and steps fit on one screen"
        small = phone.js(
            "return [...document.querySelectorAll('.verdicts button, .steps button')]"
            ".filter(e => e.offsetHeight < 40).map(e => e.textContent)"
        )
        assert not small
        tap(phone, ".verdict.correct")
        phone.until(lambda: "1 reviewed" in phone.find("#progress").text)


def tap(phone: Browser, css: str) -> None:
    """With a finger."""
    box = phone.js(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [b.left + b.width / 2, b.top + b.height / 2]", css,
    )  # fmt: skip
    point = {"x": box[0], "y": box[1]}
    for kind, points in (("touchStart", [point]), ("touchEnd", [])):
        phone.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )


def test_filters_and_numbers(desk: Browser, page: Path) -> None:
    """Counts of the page are those of the data, however they are filtered."""
    data = held(page)
    desk.open(page, "detections")
    n = data["detections"]["n"]
    assert any(f"of {n:,} detections" in text for text in desk.texts("caption"))
    assert "1 class without a detection" in desk.texts("summary")
    desk.click_text("summary", "1 class without")
    assert SILENT.partition("_")[2] in desk.find(".names").text
    desk.choose("#filter-deployment", "quarry")
    assert "No detection of all classes at quarry." in desk.find("main").text
    desk.choose("#filter-deployment", "all")
    desk.choose("#filter-class", SILENT.partition("_")[2])
    assert "No detection of Eurasian Bittern" in desk.find("main").text
    desk.click_text("nav a", "Listen")
    assert "No detection of Eurasian Bittern is shown." in desk.find("main").text
    assert "windows of the random sample" in desk.find("main").text
    desk.click_text("nav a", "Detections")
    desk.choose("#filter-class", "all")
    desk.click_text(".buttons button", "Last")
    last = desk.texts("caption")[-1]
    assert last.endswith(f"to {n:,} of {n:,} detections")
    desk.click_text("summary", "Numbers")
    assert "By day" in desk.texts("caption")


def test_one_bundle_at_a_time(desk: Browser, tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "archive", "fen")
    made.start()
    made.record(30)
    for n in range(3):
        made.detect(TIT, 3 + n, 4 + n, bundle="birds-1")
    made.detect(TIT, 3, 4, bundle="birds-2")
    made.detect("Strix aluco_Tawny Owl", 8, 9, bundle="birds-2")
    made.close()
    assert main(["report", str(made.folder), "-o", str(tmp_path / "report")]) == 0
    desk.open(tmp_path / "report" / "index.html", "detections")
    assert "1 to 3 of 3 detections" in desk.texts("caption")
    assert "Tawny Owl" not in desk.find("main").text
    desk.choose("#filter-bundle", "birds-2")
    assert "1 to 2 of 2 detections" in desk.texts("caption")
    assert "Tawny Owl" in desk.find("main").text
    desk.click_text("nav a", "Listen")
    desk.choose("#filter-class", "Great Tit")
    desk.click("#start-review")
    desk.press("1")
    desk.open(tmp_path / "report" / "index.html", "save")
    desk.click("#save-file")
    (one,) = read_corrections([desk.downloaded()])
    assert one.bundle_sha256 == held(tmp_path / "report" / "index.html")["bundles"][1]["sha256"]


def test_nothing_was_heard(desk: Browser, tmp_path: Path) -> None:
    """Nor did any classifier listen."""
    made = MadeDeployment(tmp_path / "archive", "fen")
    made.start()
    made.record(5)
    made.close()
    (made.folder / "detections.sqlite").unlink()
    assert main(["report", str(made.folder), "-o", str(tmp_path / "report")]) == 0
    page = tmp_path / "report" / "index.html"
    for view, text in {
        "overview": "Recorded\n5.0 s", "detections": "No detection of all classes",
        "health": "kept no readings", "listen": "There is nothing to listen to",
        "review": "Choose a class", "save": "No verdict yet",
    }.items():  # fmt: skip
        desk.open(page, view)
        assert text in desk.find("main").text, view
    assert not desk.complaints()


def test_a_browser_that_keeps_nothing_says_so(desk: Browser, page: Path) -> None:
    listen(desk, page)
    desk.js("Storage.prototype.setItem = () => { throw new Error('full'); }")
    desk.press("1", "2")
    assert "does not keep what you say" in desk.find("#warning").text
    desk.click_text("nav a", "Save")
    assert "This browser keeps nothing" in desk.find("main").text


def test_a_sound_that_is_not_there_is_said(desk: Browser, page: Path, tmp_path: Path) -> None:
    """Somebody took the page without its folder."""
    alone = tmp_path / "alone.html"
    alone.write_bytes(page.read_bytes())
    listen(desk, alone)
    desk.until(lambda: "cannot be played" in desk.find("#status").text)


def test_one_file_is_enough(desk: Browser, archive: Path, tmp_path: Path) -> None:
    words = ["--per-class", "1", "--windows", "2", "--one-file"]
    assert main(["report", str(archive), "-o", str(tmp_path / "one"), *words]) == 0
    assert [one.name for one in (tmp_path / "one").iterdir()] == ["index.html"]
    listen(desk, tmp_path / "one" / "index.html")
    desk.until(lambda: desk.js("return document.querySelector('audio').duration > 1"))
    assert desk.js("return document.querySelector('.picture img').naturalHeight") == 256
    assert {one.split(":")[0] for one in desk.asked()} <= {"file", "data", "blob"}
    assert not desk.complaints()


def test_a_hundred_thousand_detections(desk: Browser, tmp_path: Path) -> None:
    archive = many(tmp_path / "archive", 100_000)
    assert main(["report", str(archive), "-o", str(tmp_path / "report"), "--per-class", "1",
                 "--windows", "2"]) == 0  # fmt: skip
    page = tmp_path / "report" / "index.html"
    assert page.stat().st_size < 3e6
    desk.open(page)
    desk.js("return new Promise(requestAnimationFrame)")
    first_s = desk.cpu_s()
    desk.click_text("nav a", "Detections")
    assert any("of 100,000 detections" in text for text in desk.texts("caption"))
    desk.choose("#filter-class", "Great Tit")
    desk.js("return new Promise(requestAnimationFrame)")
    steps_s = (desk.cpu_s() - first_s) / 2
    size_mb = page.stat().st_size / 1e6
    print(f"100,000 detections: page {size_mb:.2f} MB, {first_s:.2f} s of CPU to the first"
          f" picture, {steps_s:.2f} s for a filter")  # fmt: skip
    assert first_s < 8
    assert steps_s < 4
    assert not desk.complaints()
