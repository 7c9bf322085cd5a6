#!/usr/bin/env python3
# ctest: release
"""The portal in a headless Chromium: the whole story by clicks and keys, its looks in both themes at 360 and 1920 pixels,
axe-core's rules for accessibility, the key, a server that is away. Screenshots: portal/ in the build folder.

usage: test_portal.py      needs LORAC_BUILD_DIR
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from serve_support import LORAC, Server

SKIP = 77
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
WIDTHS = (360, 1920)
PATIENCE_S = 120
AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect, sync_playwright
except ImportError as missing:
    print(f"skipped: {missing.name} is not in .venv; scripts/setup --python gets it")
    sys.exit(SKIP)
expect.set_options(timeout=PATIENCE_S * 1000)


def find_browser():
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def rows(count):
    return "".join(json.dumps({"messages": [
        {"role": "system", "content": "You answer for the harbour desk."},
        {"role": "user", "content": f"When does ferry {i} leave?"},
        {"role": "assistant", "content": f"At {i % 24}:40 from quay 3."}]}) + "\n" for i in range(count))


class Serve:
    """`lorac serve` on a data directory of its own; with_key: it wants the key in .key."""

    def __init__(self, data, with_key=False):
        self.key = None
        if with_key:
            self.key = subprocess.run([LORAC, "keys", "add", "portal", "--data", data], check=True, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
        self.server = Server(data)
        self.url = self.server.start().url

    def signal_workers(self, number):
        """To the processes that generate: held still, they are surely not through when somebody clicks."""
        workers = subprocess.run(["pgrep", "-P", str(self.server.process.pid), "-f", "lorac worker"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout.split()
        for worker in workers:
            os.kill(int(worker), number)

    def stop(self):
        assert self.server.stop() == 0, self.server.log()[-2000:]


class Portal:
    """A page of the browser and what the test does with it again and again."""

    def __init__(self, browser, url, folder):
        self.url, self.folder = url, folder
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.complaints, self.expected_errors = [], 0
        self.page.on("console", self.note)
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.requests = []
        self.page.on("request", lambda request: self.requests.append(request))

    def note(self, message):
        """The browser's own line about an answer of 4xx is no complaint: the page shows that error."""
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, address=""):
        self.page.goto(self.url + "/" + address)

    def button(self, name, within=None, exact=True):
        return (within or self.page).get_by_role("button", name=name, exact=exact)

    def dialog(self):
        return self.page.get_by_role("dialog")

    def until(self, expression):
        """Waits until it is true on the page. (Playwright's own wait asks the page for eval, which its policy forbids.)"""
        end = time.time() + PATIENCE_S
        while not self.page.evaluate(expression):
            assert time.time() < end, f"never true: {expression}"
            self.page.wait_for_timeout(50)

    def go(self, name):
        self.page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()

    def status(self, word):
        expect(self.page.locator("h1 + .badge")).to_have_text(word, timeout=PATIENCE_S * 1000)

    def rows(self, text, table=None):
        within = self.page.get_by_role("table", name=table, exact=True) if table else self.page
        return within.locator("tbody tr", has_text=text)

    def expect_row(self, text, table=None):
        row = self.rows(text, table)
        expect(row).to_be_visible()
        return row

    def look(self, name):
        """Screenshots of what is there now, checked for width and, in each theme, by axe."""
        is_dialog = self.page.locator("dialog[open]").count() > 0
        for theme in ("light", "dark"):
            self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            for width in WIDTHS:
                self.page.set_viewport_size({"width": width, "height": 900})
                self.page.evaluate("scrollTo(0, 0)")  # the bar at the top stays there and would cover something
                self.page.wait_for_timeout(150)
                self.page.screenshot(path=os.path.join(self.folder, f"{name}-{theme}-{width}.png"), full_page=not is_dialog)
                over = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert over <= 0, f"{name}: {over} pixels wider than a screen of {width}"
            found = Axe().run(self.page, options=AXE_RULES).response["violations"]
            told = [f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:160]} ({v['nodes'][0]['failureSummary'][:300]})"
                    for v in found]
            assert not told, f"{name}, {theme}: " + "\n".join(told)
        self.page.set_viewport_size({"width": 1440, "height": 900})
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")

    def upload_in_dialog(self, label, path, word):
        field = self.dialog().locator(".file-field", has_text=label)
        field.locator("input[type=file]").set_input_files(path)
        expect(field.locator(".file-preview .badge")).to_have_text(word)
        return field


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


# ---- the story, step by step; each goes on where the last one stopped ----

def beginning(portal, data):
    portal.open()
    expect(portal.page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    portal.look("1-empty")


def theme_switch(portal, data):
    page, switch = portal.page, portal.button("Dark theme")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    dark = page.evaluate(colour)
    assert dark != light
    page.reload()
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(colour) == dark, "the choice is not remembered"
    page.evaluate("localStorage.clear()")
    page.reload()


def keyboard(portal, data):
    """Without a pointer: the skip link, the dialog, focus that is seen, and comes back."""
    page = portal.page
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    assert page.evaluate("location.hash") in ("", "#/jobs")
    page.keyboard.press("Tab")
    expect(portal.button("New job")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", f"focus cannot be seen: {outline}"
    page.keyboard.press("Enter")
    expect(portal.dialog()).to_be_visible()
    for _ in range(30):  # what is behind the dialog cannot be reached
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(portal.dialog()).to_be_hidden()
    expect(portal.button("New job")).to_be_focused()


def create_with_errors(portal, data):
    """A bad file, bad numbers: each said where it is, and nothing lost."""
    page, dialog = portal.page, portal.dialog()
    portal.button("New job").click()
    bad = portal.upload_in_dialog("Training data", data["bad"], "Error")
    expect(bad.locator(".problems li")).not_to_have_count(0)
    expect(bad.locator(".problems")).to_contain_text("7")
    portal.look("2-create-bad-file")
    portal.button("Review").click()
    expect(bad).to_contain_text("This file has errors")
    dialog.get_by_label("Epochs").fill("51")
    dialog.get_by_label("Suffix").fill("harbor.desk")
    portal.upload_in_dialog("Training data", data["train"], "Processed")
    portal.button("Review").click()
    expect(dialog.get_by_label("Suffix")).to_be_focused()
    expect(dialog.get_by_label("Epochs")).to_have_attribute("aria-invalid", "true")
    expect(dialog).to_contain_text("A whole number from 1 to 50")
    portal.button("Close", dialog).click()
    portal.button("New job").click()
    expect(dialog.get_by_label("Suffix")).to_have_value("harbor.desk")
    expect(dialog.locator(".file-preview").first).to_contain_text("train.jsonl")


def create_refused(portal, data):
    """What the API refuses is said at the field, in its words; what was filled in stays."""
    dialog = portal.dialog()
    portal.upload_in_dialog("Validation data", data["valid"], "Processed")
    dialog.get_by_text("First row").first.click()
    expect(dialog.locator(".row-message").first).to_contain_text("harbour desk")
    dialog.get_by_label("Epochs").fill("3")
    dialog.get_by_label("Seed").fill("7")
    dialog.get_by_label("Suffix").fill("harbor-desk")
    portal.page.route("**/openai/v1/fine_tuning/jobs", lambda route: route.fulfill(
        status=400, content_type="application/json", body=json.dumps({"error": {
            "code": "invalidPayload", "message": "No such suffix today.", "param": "suffix",
            "type": "invalid_request_error"}})) if route.request.method == "POST" else route.fallback())
    portal.button("Review").click()
    expect(dialog.get_by_role("heading")).to_be_focused()
    expect(dialog).to_contain_text("valid.jsonl")
    portal.look("3-review")
    portal.button("Start job").click()
    expect(dialog.locator(".callout")).to_have_text("No such suffix today.")
    expect(dialog.get_by_label("Suffix")).to_be_focused()
    expect(dialog.get_by_label("Seed")).to_have_value("7")
    portal.page.unroute("**/openai/v1/fine_tuning/jobs")
    portal.look("4-create")


def create(portal, data):
    portal.button("Review").click()
    portal.button("Start job").click()
    portal.page.wait_for_url("**/#/jobs/ftjob-*")
    expect(portal.page.get_by_role("heading", level=1)).to_have_text("harbor-desk")
    body = json.loads([r for r in portal.requests if r.method == "POST" and r.url.endswith("/jobs")][-1].post_data)
    assert body["method"]["supervised"]["hyperparameters"] == {
        "n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"}, body
    assert body["seed"] == 7 and body["validation_file"] and body["suffix"] == "harbor-desk", body
    data["first"] = portal.page.url.rsplit("/", 1)[1]


def watch(portal, data):
    """Live: charts, their readout by keys, events, details."""
    page = portal.page
    portal.status("Running")
    expect(page.locator(".events li.metrics")).not_to_have_count(0)
    loss = page.get_by_role("slider", name="Loss by step")
    expect(loss.locator(".series.train .line")).to_be_visible()
    begin = page.locator(".events li").count()
    portal.until(f"document.querySelectorAll('.events li').length > {begin}")
    portal.look("5-running")


def succeed(portal, data):
    page = portal.page
    portal.status("Succeeded")
    for name in ("Deploy", "Continue fine-tuning", "Delete"):
        expect(portal.button(name, page.get_by_role("group", name="Job actions"))).to_be_enabled()
    for name in ("Pause", "Cancel"):
        expect(portal.button(name, page.get_by_role("group", name="Job actions"))).to_be_disabled()
    facts = page.locator("main .facts")
    for text in ("harbor-desk", "train.jsonl", "valid.jsonl", "results.csv", "Supervised", "7"):
        expect(facts).to_contain_text(text)
    expect(page.locator(".checkpoints tbody tr")).to_have_count(3)


def readout(portal, data):
    page = portal.page
    loss, accuracy = page.get_by_role("slider", name="Loss by step"), page.get_by_role("slider", name="Token accuracy by step")
    loss.focus()
    page.keyboard.press("End")
    last = int(loss.get_attribute("aria-valuenow"))
    page.keyboard.press("ArrowLeft")
    assert int(loss.get_attribute("aria-valuenow")) == last - 1
    page.keyboard.press("Home")
    expect(loss).to_have_attribute("aria-valuenow", "1")
    assert re.match(r"Step 1: Train \d+\.\d{4}", loss.get_attribute("aria-valuetext"))
    expect(accuracy).to_have_attribute("aria-valuenow", "1")  # both charts stand at one step
    page.keyboard.press("Escape")
    box = accuracy.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    assert 1 < int(loss.get_attribute("aria-valuenow")) < last
    page.mouse.move(5, 5)
    page.get_by_text("Values as a table").click()
    table = page.get_by_role("region", name="Metrics by step").locator("tbody tr")
    expect(table).to_have_count(last)
    page.get_by_text("Values as a table").click()
    events = page.locator(".events li")
    count = events.count()
    page.get_by_role("checkbox", name="Metrics").uncheck()
    expect(page.locator(".events li.metrics")).to_have_count(0)
    page.get_by_role("checkbox", name="Metrics").check()
    expect(events).to_have_count(count)
    if portal.button("Show older events").is_visible():
        portal.button("Show older events").click()
        portal.until(f"document.querySelectorAll('.events li').length > {count}")
    portal.look("6-succeeded")


def results(portal, data):
    page = portal.page
    with page.expect_download() as waiting:
        portal.button("Download results.csv").click()
    assert waiting.value.suggested_filename == "results.csv"
    with open(waiting.value.path(), encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert lines[0].startswith("step,train_loss,train_mean_token_accuracy"), lines[0]
    shown = int(page.get_by_role("slider", name="Loss by step").get_attribute("aria-valuemax"))
    assert int(lines[-1].split(",")[0]) == shown == len(lines) - 1


def deploy(portal, data):
    page = portal.page
    portal.button("Deploy", page.get_by_role("group", name="Job actions")).click()
    expect(portal.dialog().get_by_label("Deployment name")).to_have_value("harbor-desk")
    portal.look("7-deploy")
    portal.button("Deploy", portal.dialog()).click()
    expect(portal.page.get_by_role("heading", name="Deployments", level=1)).to_be_visible()
    portal.expect_row("harbor-desk", "Deployments")
    portal.button("Deploy a model").click()
    portal.dialog().get_by_label("Model").select_option("sprout-3m")
    expect(portal.dialog().get_by_label("Deployment name")).to_have_value("sprout-3m")
    portal.dialog().get_by_label("Deployment name").fill("harbor-desk")
    portal.button("Deploy", portal.dialog()).click()
    expect(portal.dialog().get_by_role("alert")).to_contain_text("is deployed already")
    expect(portal.button("Replace it")).to_be_visible()
    portal.dialog().get_by_label("Deployment name").fill("base")
    portal.button("Deploy", portal.dialog()).click()
    expect(portal.expect_row("base", "Deployments").locator(".badge")).to_have_text("Succeeded")
    portal.look("8-deployments")


def chat(portal, data):
    page = portal.page
    page.get_by_role("link", name="Chat with harbor-desk").click()
    expect(page.get_by_label("Left", exact=True).locator("select")).to_have_value("base")
    expect(page.get_by_label("Right", exact=True).locator("select")).to_have_value("harbor-desk")
    page.get_by_label("System prompt").fill("You answer for the harbour desk.")
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Most tokens").fill("64")
    page.get_by_label("Message").fill("When does ferry 3 leave?")
    page.keyboard.press("Enter")
    answers = page.locator(".turn.assistant")
    expect(answers).to_have_count(2)
    portal.until("[...document.querySelectorAll('.turn.assistant .turn-text')].every((n) => n.textContent)")
    expect(portal.button("Send")).to_be_enabled()
    assert page.locator(".turn.assistant .turn-note").all_inner_texts()[0] != ""
    sent = [json.loads(r.post_data) for r in portal.requests if r.url.endswith("/chat/completions")]
    assert {one["model"] for one in sent} == {"base", "harbor-desk"}, sent
    for one in sent:
        assert one["stream"] and one["temperature"] == 0.5 and one["max_tokens"] == 64, one
        assert [m["role"] for m in one["messages"]] == ["system", "user"], one
    portal.look("9-playground")


def chat_stop(portal, data):
    page = portal.page
    page.get_by_label("Message").fill("And ferry 4?")
    data["signal_workers"](signal.SIGSTOP)
    portal.button("Send").click()
    portal.until("document.querySelectorAll('.turn.is-running').length === 2")
    portal.button("Stop").click()
    expect(page.locator(".turn.is-running")).to_have_count(0)
    data["signal_workers"](signal.SIGCONT)
    expect(portal.button("Send")).to_be_enabled()
    last = json.loads([r for r in portal.requests if r.url.endswith("/chat/completions")][-1].post_data)
    assert [m["role"] for m in last["messages"]] == ["system", "user", "assistant", "user"], last
    portal.go("Files")
    portal.go("Playground")
    expect(page.locator(".turn.user")).to_have_count(4)  # two questions in two panes: still there


def pause_and_cancel(portal, data):
    """Continue from the tuned model with many epochs; pause, resume, cancel, delete."""
    page = portal.page
    portal.open(f"#/jobs/{data['first']}")
    portal.status("Succeeded")
    portal.button("Continue fine-tuning", page.get_by_role("group", name="Job actions")).click()
    expect(portal.dialog().get_by_label("Model")).to_have_value(re.compile(r"sprout-3m\.ft-.*harbor-desk"))
    train = portal.dialog().get_by_label("Training data", exact=True)
    train.select_option(label="train.jsonl")
    portal.dialog().get_by_label("Epochs").fill("50")
    portal.button("Review").click()
    portal.button("Start job").click()
    page.wait_for_url(lambda url: "ftjob-" in url and data["first"] not in url)
    toolbar = page.get_by_role("group", name="Job actions")
    portal.status("Running")
    expect(portal.button("Deploy", toolbar)).to_be_disabled()
    expect(portal.button("Delete", toolbar)).to_be_disabled()
    portal.until("document.querySelectorAll('.events li.metrics').length > 2")
    portal.button("Pause", toolbar).click()
    portal.status("Paused")
    portal.button("Resume", toolbar).click()
    portal.status("Running")
    portal.button("Cancel", toolbar).click()
    expect(portal.button("Keep it")).to_be_focused()
    portal.look("10-cancel")
    portal.button("Keep it").click()
    portal.status("Running")
    portal.button("Cancel", toolbar).click()
    portal.button("Cancel the job").click()
    portal.status("Cancelled")
    portal.go("Jobs")
    expect(page.locator("tbody tr")).to_have_count(2)
    portal.look("11-jobs")
    page.locator("tbody tr").first.get_by_role("link").click()
    portal.button("Delete", toolbar).click()
    portal.button("Delete the job").click()
    expect(page.get_by_role("heading", name="Fine-tuning jobs")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(1)


def checkpoint(portal, data):
    page = portal.page
    portal.open(f"#/jobs/{data['first']}")
    last = page.locator(".checkpoints tbody tr").last
    last.get_by_role("button", name=re.compile("^Continue fine-tuning from step")).click()
    expect(portal.dialog().get_by_label("Model")).to_have_value(re.compile(r":ckpt-step-\d+$"))
    portal.button("Close", portal.dialog()).click()
    last.get_by_role("button", name=re.compile("^Deploy step")).click()
    portal.dialog().get_by_label("Deployment name").fill("early")
    portal.button("Deploy", portal.dialog()).click()
    expect(page.get_by_role("heading", name="Deployments", level=1)).to_be_visible()
    portal.expect_row("early", "Deployments")


def clean_up(portal, data):
    """Deployments, the model, which has to wait for its deployment, then files. A name that is HTML is a name."""
    page = portal.page
    portal.button("Delete early").click()
    portal.button("Delete the deployment").click()
    expect(portal.rows("early", "Deployments")).to_have_count(0)
    portal.expect_row("harbor-desk", "Fine-tuned models").get_by_role("button", name="Delete").click()
    expect(portal.button("Keep it")).to_be_focused()
    portal.button("Delete the model").click()
    expect(portal.dialog().get_by_role("alert")).to_contain_text("The model is deployed")
    portal.look("12-model")
    portal.button("Keep it").click()
    portal.button("Delete harbor-desk").click()
    portal.button("Delete the deployment").click()
    expect(portal.rows("harbor-desk", "Deployments")).to_have_count(0)
    portal.expect_row("harbor-desk", "Fine-tuned models").get_by_role("button", name="Delete").click()
    portal.button("Delete the model").click()
    expect(portal.rows("harbor-desk")).to_have_count(0)
    portal.go("Jobs")
    portal.expect_row("harbor-desk").get_by_role("link").click()
    for name in ("Deploy", "Continue fine-tuning"):
        expect(portal.button(name, page.get_by_role("group", name="Job actions"))).to_have_attribute("title", re.compile("deleted"))
    portal.go("Files")
    page.get_by_label("Files to upload").set_input_files(data["html"])
    row = portal.expect_row(os.path.basename(data["html"]))
    expect(row.locator(".badge")).to_have_text("Processed")
    assert page.locator("main img").count() == 0, "a file's name was taken for HTML"
    bad = portal.expect_row("bad.jsonl")
    expect(bad.locator(".problems li")).not_to_have_count(0)
    portal.look("13-files")
    with page.expect_download() as waiting:
        row.get_by_role("button", name="Download").click()
    with open(waiting.value.path(), encoding="utf-8") as file:
        assert file.read() == rows(12)
    bad.get_by_role("button", name="Delete").click()
    portal.button("Delete the file").click()
    expect(page.locator("tbody tr", has_text="bad.jsonl")).to_have_count(0)


def away(portal, data):
    """A server that does not answer is said so, then asked again; a hidden page asks nothing."""
    page = portal.page
    portal.go("Jobs")
    portal.expect_row("harbor-desk")
    portal.context.set_offline(True)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # asks at once
    expect(page.get_by_role("status").filter(has_text="does not answer")).to_be_visible()
    portal.context.set_offline(False)
    expect(page.locator("#connection")).to_be_hidden()
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});"
                  "document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(500)
    before = len(portal.requests)
    page.wait_for_timeout(12000)  # longer than any interval of this page
    assert len(portal.requests) == before, "a hidden page asks the server"
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(1000)
    assert len(portal.requests) > before


STORY = (beginning, theme_switch, keyboard, create_with_errors, create_refused, create, watch, succeed, readout, results,
         deploy, chat, chat_stop, pause_and_cancel, checkpoint, clean_up, away)


def key(browser, server, folder):
    """A server that wants a key: asked for, wrong, right, kept in the tab, forgotten."""
    portal = Portal(browser, server.url, folder)
    page = portal.page
    portal.open()
    expect(portal.dialog()).to_contain_text("This server asks for a key")
    portal.look("14-key")
    for value, text in (("wrong", "does not know this key"), (server.key, None)):
        portal.dialog().get_by_label("Key").fill(value)
        portal.button("Use key").click()
        if text:
            expect(portal.dialog()).to_contain_text(text)
    expect(page.get_by_role("heading", name="Fine-tuning jobs")).to_be_visible()
    expect(portal.dialog()).to_be_hidden()
    page.reload()
    expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 1]
    portal.button("Forget API key").click()
    expect(portal.dialog()).to_contain_text("This server asks for a key")
    assert not portal.complaints, portal.complaints
    print("key: ok")


def run_story(browser, server, folder, data):
    portal = Portal(browser, server.url, folder)
    for step in STORY:
        began = time.time()
        try:
            step(portal, data)
            assert not portal.complaints, "\n".join(portal.complaints)
        except Exception:
            portal.page.screenshot(path=os.path.join(folder, f"failed-{step.__name__}.png"))
            raise
        print(f"{step.__name__}: ok, {time.time() - began:.1f} s", flush=True)
    portal.context.close()


def main():
    browser_path = find_browser()
    if browser_path is None:
        print("skipped: there is no Chromium; scripts/setup --browser installs one")
        return SKIP
    folder = os.path.join(os.environ["LORAC_BUILD_DIR"], "portal")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        data = {"train": write(scratch, "train.jsonl", rows(60)), "valid": write(scratch, "valid.jsonl", rows(20)),
                "bad": write(scratch, "bad.jsonl", rows(6) + '{"messages": [{"content": "x"}]}\n{oops\n'),
                "html": write(scratch, "<img src=x onerror=alert(1)>.jsonl", rows(12))}
        browser = playwright.chromium.launch(executable_path=browser_path,
                                             args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        try:
            for run, name in ((run_story, "data"), (key, "locked")):
                server = Serve(os.path.join(scratch, name), with_key=run is key)
                try:
                    data["signal_workers"] = server.signal_workers
                    run(browser, server, folder, *([data] if run is run_story else []))
                finally:
                    server.stop()
        except Exception:
            traceback.print_exc()
            return 1
        finally:
            browser.close()
    print(f"screenshots: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
