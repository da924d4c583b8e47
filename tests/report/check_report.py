#!/usr/bin/env python3
"""Opens a report in headless Chromium, as a reader would: check_report.py PROGRAM SOURCE_DIR OUT_DIR

At 390 and 1,440 pixels: nothing on the console, no request but for the page itself, every chart drawn (coloured
pixels, not only elements), text alternatives in the accessibility tree, every control reached by the Tab key, no
sideways scrolling. Screenshots and a print stay in OUT_DIR. Exits with 77 (skipped) where a tool is missing.
"""

import io
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import browser

SKIPPED = 77
CHARTS = ["training-time", "likelihood-profile", "spectrum", "decorrelation", "predicted-observed", "calibration"]
SMALLEST_TEXT = 10  # CSS pixels
FEWEST_COLOURED = 200  # pixels: ten dots, or a line across a phone

failures = []


def expect(condition, sentence):
    if not condition:
        failures.append(sentence)
        print("FAILED:", sentence)


def coloured_pixels(png):
    """How many pixels are neither grey nor white: those of the series, not of axes and grid."""
    from PIL import Image

    raw = Image.open(io.BytesIO(png)).convert("RGB").tobytes()
    return sum(1 for i in range(0, len(raw), 3) if max(raw[i : i + 3]) - min(raw[i : i + 3]) > 60)


def make_reports(program, source, out):
    def run(*words):
        subprocess.run([program, *words], check=True, cwd=out, stdout=subprocess.DEVNULL)

    diabetes = os.path.join(source, "examples", "diabetes.csv")
    penguins = os.path.join(source, "examples", "penguins.csv")
    run("fit", diabetes, "--target", "target", "--learning-rate", "0.01", "-o", "diabetes.model", "-q")
    run("report", "diabetes.model", "-o", "diabetes.html", "--figures", "figures")
    run("fit", penguins, "--target", "species", "--classes", "-o", "penguins.model", "-q")
    run("report", "penguins.model", "-o", "penguins.html")
    return {"diabetes.html": CHARTS, "penguins.html": ["reliability"]}


def check_svg_files(folder):
    for name in CHARTS:
        for suffix in ("", "-narrow"):
            root = ElementTree.parse(os.path.join(folder, f"{name}{suffix}.svg")).getroot()
            tags = [child.tag.rsplit("}")[-1] for child in root]
            expect(root.get("viewBox") and tags[:2] == ["title", "desc"],
                   f"{name}{suffix}.svg has a view box, a title and a description")
            ids = [element.get("id") for element in root.iter() if element.get("id")]
            expect(len(ids) == len(set(ids)), f"{name}{suffix}.svg has no identifier twice")


def visible_charts(page):
    return page.evaluate("""
      [...document.querySelectorAll('figure svg')].filter(svg => svg.getClientRects().length).map(svg => {
        const box = svg.getBoundingClientRect();
        const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim());
        return {name: svg.closest('figure').id,
                clip: {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height},
                smallest: Math.min(...texts.map(text => parseFloat(getComputedStyle(text).fontSize)
                                                        * box.width / svg.viewBox.baseVal.width)),
                texts: texts.length};
      })""")


def check_charts(page, file, width, charts):
    shown = visible_charts(page)
    expect([chart["name"] for chart in shown] == charts, f"{file} at {width}: each chart is shown once, in order")
    for chart in shown:
        coloured = coloured_pixels(page.screenshot(chart["clip"]))
        what = f"{file} at {width}: {chart['name']}"
        print(f"  {what}: {coloured} coloured pixels, smallest text {chart['smallest']:.1f} px")
        expect(coloured >= FEWEST_COLOURED, f"{what} is drawn in colour")
        expect(chart["smallest"] >= SMALLEST_TEXT, f"{what} has text of at least {SMALLEST_TEXT} px")
        expect(chart["texts"] >= 8, f"{what} has its axes labelled")


def check_alternatives(page, file, width, charts):
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    value = lambda node, key: node.get(key, {}).get("value", "")
    images = [node for node in nodes if value(node, "role") in ("image", "img") and not node.get("ignored")]
    expect(len(images) == len(charts), f"{file} at {width}: every chart is one image to a screen reader")
    for image in images:
        expect(len(value(image, "name")) > 40, f"{file} at {width}: a chart says what it shows")
    headings = [node for node in nodes if value(node, "role") == "heading"]
    expect(len(headings) >= 5, f"{file} at {width}: headings to jump between")


def check_keyboard(page, file, width):
    count = page.evaluate("document.querySelectorAll('a, summary').length")
    reached = set()
    for _ in range(3 * count + 40):
        page.press("Tab")
        place = page.evaluate("""[...document.querySelectorAll('a, summary')].indexOf(document.activeElement)""")
        if place >= 0:
            reached.add(place)
        if len(reached) == count:
            break
    expect(len(reached) == count, f"{file} at {width}: Tab reaches {len(reached)} of {count} links and switches")
    page.evaluate("document.querySelector('figure summary').focus()")
    page.press("Enter")
    expect(page.evaluate("document.querySelector('figure details').open"), f"{file} at {width}: Enter opens a table")
    page.press("Enter")


def check_page(page, out, file, width, charts):
    page.console.clear()
    page.requests.clear()
    page.open(os.path.join(out, file), width)
    check_charts(page, file, width, charts)
    check_alternatives(page, file, width, charts)
    wide = page.evaluate("document.documentElement.scrollWidth")
    expect(wide <= width, f"{file} at {width}: no sideways scrolling (it is {wide} wide)")
    check_keyboard(page, file, width)
    others = [url for url in page.requests if not url.startswith(("file://", "data:"))]
    expect(others == [] and len([u for u in page.requests if u.startswith("file://")]) == 1,
           f"{file} at {width}: one request, the page itself (others: {others})")
    expect(page.console == [], f"{file} at {width}: nothing on the console ({page.console[:2]})")
    page.evaluate("document.activeElement.blur()")
    with open(os.path.join(out, f"{file.removesuffix('.html')}-{width}.png"), "wb") as image:
        image.write(page.screenshot())


def main():
    program, source, out = sys.argv[1:4]
    chromium = browser.program()
    if not chromium or not shutil.which("gnuplot"):
        print("skipped: needs chromium and gnuplot")
        return SKIPPED
    try:
        import PIL  # noqa: F401
    except ImportError:
        print("skipped: needs python3-pil")
        return SKIPPED
    os.makedirs(out, exist_ok=True)
    reports = make_reports(os.path.abspath(program), os.path.abspath(source), out)
    check_svg_files(os.path.join(out, "figures"))
    with browser.Browser(chromium) as page:
        for file, charts in reports.items():
            for width in (390, 1440):
                check_page(page, out, file, width, charts)
            with open(os.path.join(out, f"{file.removesuffix('.html')}.pdf"), "wb") as document:
                document.write(page.pdf())
            print(f"  {file}: {os.path.getsize(os.path.join(out, file)) / 1000:.0f} kB")
    print(f"{len(failures)} failures; screenshots in {out}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
