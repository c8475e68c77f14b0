"""The page in a real browser: no errors, all pictures, sorting and enlarging; skipped without a Chromium."""

import html
import json
import re
import shutil
import subprocess

import pytest

from specdm.report.page import page
from specdm.report.parts import parts, top
from specdm.report.run_parts import Machine
from specdm.report.run_parts import parts as run_parts
from tests.report.examples import cost, found, scored

NAMES = ("chromium", "chromium-browser", "google-chrome")
MACHINE = Machine("Linux", "processor", 2, (), {})
WATCH = """<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message || event.target.src)), true);
for (const kind of ["error", "warn"]) console[kind] = (...words) => errors.push(words.join(" "));
</script>"""
PROBE = """<script>
addEventListener("load", () => {
  const shown = table => [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent));
  const seen = {
    pictures: [...document.images].map(img => img.naturalWidth),
    tables: [...document.querySelectorAll("table")].map(table => [table.tBodies[0].rows.length, table.offsetWidth]),
    scroll: document.documentElement.scrollWidth - innerWidth,
    requests: performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 30)),
    sorted: {},
  };
  const table = document.querySelector("#benefit ~ .scroll table");
  for (const title of ["regime", "F1 − baseline"]) {
    const head = [...table.tHead.rows[0].cells].find(cell => cell.textContent === title);
    const column = head.cellIndex;
    seen.sorted[title] = [1, 2].map(() => {
      head.querySelector("button").click();
      return [head.getAttribute("aria-sort"), ...shown(table).map(row => row[column])];
    });
  }
  seen.sort_marks = table.querySelectorAll("[aria-sort]").length;
  const dialog = document.querySelector("dialog");
  const button = document.querySelector("figure button.enlarge");
  seen.closed = dialog.open;
  button.click();
  seen.enlarged = [dialog.open, dialog.querySelector("img").naturalWidth, dialog.querySelector("span").textContent];
  dialog.querySelector("form button").click();
  seen.closed_again = dialog.open;
  dispatchEvent(new Event("beforeprint"));
  seen.folded = document.querySelectorAll("details:not([open])").length;
  seen.errors = errors;
  const note = document.createElement("pre");
  note.id = "probe";
  note.textContent = JSON.stringify(seen);
  document.body.append(note);
});
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: install one of {', '.join(NAMES)} to look at the page as its readers do")
    return path


@pytest.fixture(scope="module")
def written() -> str:
    """The page, with a text that would break it if it were not escaped."""
    run = found(note="</script><script>throw 1</script><img src=x>", alignment=[scored("<network>", 0.8, 0.7, 0.9)])
    document = "| said | chosen |\n|---|---|\n| a | `b` |\n"
    last = run_parts(run.sets, [], [cost("sample", 0.025), cost("all", 0.025)], MACHINE, None, document)
    return page("title", top(run), [*parts(run), *last])


@pytest.fixture(scope="module")
def look(browser, tmp_path_factory):
    """What the probe saw of a page: look(text, width in pixels)."""

    def run(text: str, width: int) -> dict:
        path = tmp_path_factory.mktemp("page") / "report.html"
        path.write_text(text.replace("<style>", f"{WATCH}<style>", 1) + PROBE)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
        options += [f"--user-data-dir={path.parent / 'profile'}", f"--window-size={width},900"]
        done = subprocess.run(
            [browser, *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        return json.loads(html.unescape(re.search('<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)[1]))

    return run


@pytest.fixture(scope="module")
def seen(look, written) -> dict:
    return look(written, 1300)


def test_the_page_loads_without_errors_or_requests(seen, written):
    assert seen["errors"] == []
    assert [name for name in seen["requests"] if not name.startswith("data:")] == []
    plain = re.sub("base64,[A-Za-z0-9+/=]*", "", written)
    assert not re.search(r"""(src|href)=["']?(https?:|//)|@import|url\(""", plain)


def test_every_picture_is_there_and_every_table_filled(seen):
    assert seen["pictures"] == [40, 40]
    assert len(seen["tables"]) > 10 and all(rows for rows, _ in seen["tables"])


def test_columns_are_sorted_by_number_or_text_with_what_is_undefined_last(seen):
    assert seen["sorted"]["regime"] == [
        ["ascending", "augmented-x1", "augmented-x10", "real"],
        ["descending", "real", "augmented-x10", "augmented-x1"],
    ]
    low, high = "−0.050 [−0.090, −0.010]", "+0.010 [−0.020, +0.040]"  # as texts + would come before −, empty first
    assert seen["sorted"]["F1 − baseline"] == [["ascending", low, high, ""], ["descending", high, low, ""]]
    assert seen["sort_marks"] == 1


def test_a_picture_is_enlarged_in_a_dialog_that_closes(seen):
    assert not seen["closed"] and seen["enlarged"] == [True, 40, "samples"] and not seen["closed_again"]


def test_all_is_open_for_print(seen):
    assert seen["folded"] == 0


def test_a_narrow_screen_scrolls_within_tables_only(look, written):
    narrow = look(written, 500)  # the narrowest window of a desktop browser
    assert narrow["scroll"] <= 0 and narrow["errors"] == []
    assert max(width for _, width in narrow["tables"]) > 500


def test_the_probe_notices_what_it_watches_for(look, written):
    broken = written.replace("data:image/png;base64,", "data:image/png;base64,AAAA", 1)
    faulty = look(
        broken.replace(
            '"use strict";',
            '"use strict"; console.error("oops"); dispatchEvent(new ErrorEvent("error", { message: "nothing" }));',
            1,
        ),
        1300,
    )
    assert faulty["pictures"][0] == 0 and {"oops", "nothing"} <= set(" ".join(faulty["errors"]).split())
