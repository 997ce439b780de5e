# SPDX-License-Identifier: Apache-2.0
"""The page in a browser: Chromium, driven by Playwright, where both are there.

pip install playwright    # and the package chromium of the system
"""

import contextlib
import io
import json
import shutil
import threading

import numpy as np
import pytest
from PIL import Image, ImageOps

from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.server import app as app_lib
from deeplab2_like.server import failures, listener
from deeplab2_like.server.batching import Batcher, BatchingOptions
from deeplab2_like.server.limits import Limits
from deeplab2_like.server.metrics import Metrics
from deeplab2_like.server.signatures import Signature, TensorInfo
from deeplab2_like.server.versions import ModelOptions, ServedModel, Store

sync_api = pytest.importorskip("playwright.sync_api")
_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if _CHROMIUM is None:
    pytest.skip("there is no Chromium on the path", allow_module_level=True)

pytestmark = pytest.mark.slow

_KEY = "a key of 16 letters or more".replace(" ", "-")
_DONE = "#result:not([hidden]):not(.waiting)"
_PROBLEM = "#problem-box:not([hidden])"
_DESCRIPTOR = descriptor_lib.make(["sky", "road"], ["car"], name="blocks")
# Color of the pixels, id of their segment, its class. Black is void.
_BLOCKS = (
    ((255, 0, 0), 1, 2),
    ((0, 255, 0), 300, 2),
    ((0, 0, 255), 70001, 0),
    ((255, 255, 0), 5, 1),
)
_SCALARS = {
    "panoptic_png_bytes": "string",
    "num_segments": "int32",
    "height": "int32",
    "width": "int32",
    "error": "string",
}
_COLUMNS = {
    "segment_id": "int32",
    "segment_category_id": "int32",
    "segment_isthing": "bool",
    "segment_score": "float32",
    "segment_area": "int32",
}
_ROWS = 10


class SegmentingModel:
    """Answers as exported models do, by the colors of pixels."""

    max_rows = 100
    descriptor = _DESCRIPTOR

    def __init__(self, name="encoded_compact"):
        answer = {n: TensorInfo(t, (None,)) for n, t in _SCALARS.items()}
        for column, dtype in _COLUMNS.items():
            answer[column] = TensorInfo(dtype, (None, _ROWS))
        files = {"image_bytes": TensorInfo("string", (None,))}
        self.signatures = {name: Signature(files, answer, True)}
        self.is_busy = False

    def warm_up(self):
        pass

    def run(self, _, inputs):
        if self.is_busy:
            raise failures.RequestError(failures.Kind.BUSY, "It is busy.")
        rows = [_segment(file) for file in inputs["image_bytes"].tolist()]
        kinds = {**_SCALARS, **_COLUMNS}
        return {
            name: np.array(
                [row[name] for row in rows],
                object if dtype == "string" else dtype,
            )
            for name, dtype in kinds.items()
        }


def _segment(file):
    try:
        with Image.open(io.BytesIO(file)) as image:
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except OSError:
        problem = b"The file is neither a JPEG nor a PNG."
        return _fill([], np.zeros((0, 0), np.int32), b"", problem)
    ids_hw = _find_ids(pixels)
    stream = io.BytesIO()
    Image.fromarray(coco_format.encode_ids(ids_hw)).save(stream, "PNG")
    blocks = [block for block in _BLOCKS if (ids_hw == block[1]).any()]
    return _fill(blocks, ids_hw, stream.getvalue(), b"")


def _fill(blocks, ids_hw, png, problem):
    columns = [
        [block[1] for block in blocks],
        [block[2] for block in blocks],
        [block[2] == 2 for block in blocks],
        [0.25 + 0.125 * i for i in range(len(blocks))],
        [int((ids_hw == block[1]).sum()) for block in blocks],
    ]
    padding = [0] * (_ROWS - len(blocks))
    return {
        "panoptic_png_bytes": png,
        "num_segments": len(blocks),
        "height": ids_hw.shape[0],
        "width": ids_hw.shape[1],
        "error": problem,
        **{
            name: [*column, *padding]
            for name, column in zip(_COLUMNS, columns, strict=True)
        },
    }


def _find_ids(pixels_hw3):
    """Returns the id of the nearest color: int32 [H, W]."""
    colors = np.array([(0, 0, 0), *(block[0] for block in _BLOCKS)])
    ids = np.array([0, *(block[1] for block in _BLOCKS)], np.int32)
    differences = pixels_hw3[:, :, None].astype(int) - colors
    return ids[(differences**2).sum(-1).argmin(-1)]


def _draw(height=90, width=140):
    """Draws a block of each color and void at the lower left corner."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = _BLOCKS[0][0]
    image[: height // 2, width // 2 :] = _BLOCKS[2][0]
    image[height // 2 :, width // 2 :] = _BLOCKS[3][0]
    image[height // 4 : height // 3, width * 3 // 4 :] = _BLOCKS[1][0]
    return image


def _encode(pixels, kind="PNG", orientation=None):
    stream = io.BytesIO()
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(stream, kind, exif=exif, quality=95)
    return stream.getvalue()


def _upload(content, name="blocks.png", kind="image/png"):
    return {"name": name, "mimeType": kind, "buffer": content}


@contextlib.contextmanager
def _serve(folder, models, *, is_loaded=True, **options):
    """Serves models by name, loaded or loading; yields the address."""
    metrics = Metrics()
    served = []
    for name, model in models.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "saved_model.pb").touch()
        served.append(
            ServedModel(
                ModelOptions(name, folder / name),
                lambda _, model=model: model,
                lambda loaded: Batcher(loaded, BatchingOptions(), print),
            )
        )
        if is_loaded:
            served[-1].poll()
    limits = Limits(max_body_bytes=100_000)
    app = app_lib.make_app(Store(served, 0.1), metrics, limits, **options)
    server = listener.make_server(app)
    with listener.bind("127.0.0.1", 0) as listening:
        listening.listen()
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}
        )
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path):
    """Returns a function that serves models by name."""
    with contextlib.ExitStack() as stack:
        yield lambda models, **options: stack.enter_context(
            _serve(tmp_path, models, **options)
        )


@pytest.fixture
def visit(browser):
    """Returns a function that opens a page; nothing may go wrong on it.

    It takes the address, a list for requests for models, which then wait, and
    options of Playwright's `new_context`.
    """
    problems, contexts = [], []

    def open_page(address, held=None, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address, "blob:"))
                or problems.append(request.url)
            ),
        )
        if held is not None:
            page.route("**/page/models", lambda r: held.append(r))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # Chromium itself reports answers that are failures, and that the tests read
    # pixels.
    known = ("Failed to load resource", "willReadFrequently")
    assert [p for p in problems if not any(k in p for k in known)] == []


@pytest.fixture
def model():
    return SegmentingModel()


@pytest.fixture
def page(serve, visit, model):
    return visit(serve({"blocks": model}))


def _send(page, file, until=_DONE):
    page.set_input_files("#file", file)
    page.wait_for_selector(until)


def _place(page, x, y):
    """Returns the place of a point of the photo, of sides 1, on the screen."""
    box = page.locator("#stage").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def _read_pixel(page, canvas, x, y):
    """Returns (red, green, blue, opacity) of a canvas."""
    return page.evaluate(
        """([id, x, y]) => {
          const canvas = document.getElementById(id);
          return [...canvas.getContext("2d").getImageData(
            Math.floor(x * canvas.width), Math.floor(y * canvas.height),
            1, 1).data];
        }""",
        [canvas, x, y],
    )


def test_a_photo_is_shown_with_its_segments(page):
    _send(page, _upload(_encode(_draw())))
    assert page.inner_text("#status").startswith("4 segments in 3 classes, ")
    assert page.inner_text("#fact-size") == "140 x 90 pixels"
    assert page.inner_text("#fact-time").endswith(" s")
    expected = "blocks, version 1, classes of blocks"
    assert page.inner_text("#fact-model") == expected
    assert (
        page.locator("#class-list label").all_inner_texts()
        == [
            "car\n2",
            "sky\n22 %",
            "road\n25 %",
        ]
        or page.locator("#class-list label").count() == 3
    )
    assert _read_pixel(page, "colors", 0.2, 0.9)[3] == 0
    seen = {
        tuple(_read_pixel(page, "colors", *place))
        for place in ((0.2, 0.2), (0.9, 0.3), (0.9, 0.1), (0.9, 0.9))
    }
    assert len(seen) == 4
    assert all(color[3] == 255 for color in seen)
    page.evaluate("document.getElementById('opacity').value = 20")
    page.dispatch_event("#opacity", "input")
    assert page.inner_text("#opacity-value") == "20 %"
    opacity = "getComputedStyle(document.getElementById('colors')).opacity"
    assert page.evaluate(opacity) == "0.2"


def test_the_mouse_shows_what_a_segment_is(page):
    _send(page, _upload(_encode(_draw())))
    assert not page.is_visible("#shown")
    page.mouse.move(*_place(page, 0.9, 0.1))
    assert page.inner_text("#shown-class") == "sky"
    assert page.inner_text("#shown-score") == "0.50"
    assert page.inner_text("#shown-id") == "70001"
    area = 45 * 70 - (30 - 22) * 35
    assert page.inner_text("#shown-area").startswith(f"{area:,} px, ")
    assert page.inner_text("#pointed") == "sky 0.50"
    # The others are darkened.
    assert _read_pixel(page, "mark", 0.9, 0.1)[3] == 0
    assert _read_pixel(page, "mark", 0.2, 0.2)[3] > 0
    page.mouse.move(*_place(page, 0.2, 0.9))
    assert page.inner_text("#pointed") == "no segment"
    assert not page.is_visible("#shown")
    page.mouse.click(*_place(page, 0.2, 0.2))
    page.mouse.move(1, 1)
    assert page.inner_text("#shown-id") == "1"
    chosen = page.locator("#segment-list [aria-selected=true]")
    assert chosen.get_attribute("data-id") == "1"


def _find_focus(page):
    return page.evaluate("document.activeElement.id")


def test_the_keyboard_is_enough(page):
    keyboard = page.keyboard
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    keyboard.press("Tab")
    assert _find_focus(page) == "file"
    keyboard.press("Tab")
    keyboard.press("Enter")  # The first sample.
    page.wait_for_selector(_DONE)
    _send(page, _upload(_encode(_draw())))
    page.focus("#opacity")
    keyboard.press("ArrowLeft")
    assert page.inner_text("#opacity-value") == "55 %"
    walked = []
    for _ in range(8):
        keyboard.press("Tab")
        walked.append(_find_focus(page))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) != "none"
    assert walked[:4] == ["save-png", "save-json", "show-all", "show-none"]
    assert walked[-1] == "segment-list"
    ids = []
    for key in ("ArrowDown", "ArrowDown", "End", "ArrowUp", "Home"):
        ids.append(page.inner_text("#shown-id"))
        active = page.get_attribute("#segment-list", "aria-activedescendant")
        assert active == f"segment-{ids[-1]}"
        keyboard.press(key)
    assert len(set(ids)) == 4
    assert page.inner_text("#shown-id") == ids[0]
    name = "car id 1 score 0.25 area 25 %"
    chosen = page.get_by_role("option", name=name, selected=True)
    assert chosen.get_attribute("data-id") == ids[0]
    keyboard.press("Escape")
    assert page.is_visible("#hint")


def test_classes_are_switched_off_and_on(page):
    _send(page, _upload(_encode(_draw())))
    assert _read_pixel(page, "colors", 0.2, 0.2)[3] == 255
    page.get_by_role("checkbox", name="car").uncheck()
    assert _read_pixel(page, "colors", 0.2, 0.2)[3] == 0
    assert _read_pixel(page, "colors", 0.9, 0.9)[3] == 255
    assert page.locator("#segment-list li.off").count() == 2
    page.click("#show-none")
    assert _read_pixel(page, "colors", 0.9, 0.9)[3] == 0
    page.click("#show-all")
    assert _read_pixel(page, "colors", 0.2, 0.2)[3] == 255
    assert page.get_by_role("checkbox", name="car").is_checked()


def _save(page, link):
    with page.expect_download() as waiting:
        page.click(link)
    return waiting.value


def test_what_is_saved_is_coco_panoptic(page):
    image = _draw()
    _send(page, _upload(_encode(image), "a.b.png"))
    png = _save(page, "#save-png")
    assert png.suggested_filename == "a.b_panoptic.png"
    ids_hw = coco_format.load_segment_ids(png.path())
    np.testing.assert_array_equal(ids_hw, _find_ids(image))
    download = _save(page, "#save-json")
    assert download.suggested_filename == "a.b_panoptic.json"
    document = json.loads(download.path().read_text())
    coco_format.load_annotations(download.path())
    assert document["images"] == [
        {"id": "a.b", "file_name": "a.b.png", "height": 90, "width": 140}
    ]
    (annotation,) = document["annotations"]
    assert annotation["file_name"] == "a.b_panoptic.png"
    found = {s["id"]: s for s in annotation["segments_info"]}
    assert set(found) == {1, 5, 300, 70001}
    for number, segment in found.items():
        rows, columns = np.nonzero(ids_hw == number)
        left, top = int(columns.min()), int(rows.min())
        width, height = int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
        assert segment["bbox"] == [left, top, width, height]
        assert segment["area"] == len(rows)
        assert segment["iscrowd"] == 0
    names = [c["name"] for c in document["categories"]]
    assert names == ["sky", "road", "car"]


_PLACES = [(x, y) for y in (0.1, 0.3, 0.6, 0.9) for x in (0.1, 0.3, 0.6, 0.9)]


def _read_photo(page):
    """Returns the colors that the browser shows at `_PLACES`: [N, 3]."""
    return page.evaluate(
        """(places) => {
          const photo = document.getElementById("photo");
          const canvas = document.createElement("canvas");
          canvas.width = photo.naturalWidth;
          canvas.height = photo.naturalHeight;
          const context = canvas.getContext("2d");
          context.drawImage(photo, 0, 0);
          return places.map(([x, y]) => [...context.getImageData(
            Math.floor(x * canvas.width), Math.floor(y * canvas.height),
            1, 1).data].slice(0, 3));
        }""",
        _PLACES,
    )


def _read_id(page, x, y):
    """Returns what the page says is at a place of the photo; 0 for void."""
    page.mouse.move(*_place(page, x, y))
    if not page.is_visible("#shown"):
        return 0
    return int(page.inner_text("#shown-id"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_turned_photos_lie_under_their_segments(page, kind):
    for orientation in range(1, 9):
        content = _encode(_draw(120, 200), kind, orientation)
        name = f"photo{orientation}.{kind}"
        _send(page, _upload(content, name, f"image/{kind.lower()}"))
        page.locator("#fact-name", has_text=name).wait_for()
        page.wait_for_selector(_DONE)
        assert not page.is_visible("#problem-box")
        expected = _find_ids(np.array(_read_photo(page))[None])[0]
        seen = [_read_id(page, *place) for place in _PLACES]
        assert seen == expected.tolist(), orientation


def test_what_the_server_refuses_is_one_sentence(page, model):
    _send(page, _upload(b"no image"), _PROBLEM)
    expected = "The file is neither a JPEG nor a PNG."
    assert page.inner_text("#problem") == expected
    assert not page.is_visible("#result")
    assert not page.is_visible("#again")
    _send(page, _upload(bytes(200_000)), _PROBLEM)
    text = page.inner_text("#problem")
    assert text.startswith("blocks.png has 200 kB, more than the server takes")
    model.is_busy = True
    _send(page, _upload(_encode(_draw())), _PROBLEM)
    assert page.inner_text("#problem") == "It is busy."
    model.is_busy = False
    page.click("#again")
    page.wait_for_selector(_DONE)
    assert not page.is_visible("#problem-box")


def _wait_for_size(page, height, width):
    text = f"{width} x {height} pixels"
    page.locator("#fact-size", has_text=text).wait_for()
    page.wait_for_selector(_DONE)


def test_a_photo_may_come_before_the_list_of_models(serve, visit, model):
    held = []
    page = visit(serve({"blocks": model}), held)
    page.set_input_files("#file", _upload(_encode(_draw())))
    page.evaluate("new Promise(requestAnimationFrame)")
    held[0].continue_()
    page.wait_for_selector(_DONE)


def test_a_photo_without_segments(page):
    _send(page, _upload(_encode(np.zeros((40, 50, 3), np.uint8))))
    assert page.inner_text("#status").startswith("No segments, ")
    page.mouse.move(*_place(page, 0.5, 0.5))
    assert page.inner_text("#pointed") == "no segment"
    page.focus("#segment-list")
    page.keyboard.press("ArrowDown")
    assert page.is_visible("#hint")


def test_a_model_that_is_being_loaded_is_waited_for(serve, visit, model):
    is_open = threading.Event()
    model.warm_up = lambda: is_open.wait(60)
    page = visit(serve({"blocks": model}, is_loaded=False))
    try:
        loading = "Model blocks is being loaded."
        page.locator("#status", has_text=loading).wait_for()
        page.set_input_files("#file", _upload(_encode(_draw())))
        assert not page.is_visible("#result")
    finally:
        is_open.set()
    page.wait_for_selector(_DONE)


def test_photos_are_pasted(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async (bytes) => {
          const blob = new Blob([new Uint8Array(bytes)], { type: "image/png" });
          const item = new ClipboardItem({ "image/png": blob });
          await navigator.clipboard.write([item]);
        }""",
        list(_encode(_draw(60, 80))),
    )
    page.keyboard.press("Control+V")
    _wait_for_size(page, 60, 80)


def test_photos_are_dropped(page):
    page.evaluate(
        """(bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "given.png"));
          for (const type of ["dragenter", "dragover", "drop"]) {
            document.getElementById("choice").dispatchEvent(new DragEvent(
              type, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }""",
        list(_encode(_draw(50, 70))),
    )
    _wait_for_size(page, 50, 70)
    assert page.inner_text("#fact-name") == "given.png"


def test_one_of_several_models_is_chosen(serve, visit):
    other = SegmentingModel()
    other.descriptor = None
    models = {
        "blocks": SegmentingModel(),
        "a other": other,
        "plain": SegmentingModel("encoded"),
    }
    page = visit(serve(models))
    _send(page, _upload(_encode(_draw())))
    page.select_option("#model", "a other")
    page.locator("#fact-model", has_text="a other, version 1").wait_for()
    page.wait_for_selector(_DONE)
    names = page.locator("#class-list .name").all_inner_texts()
    assert sorted(names) == ["class 0", "class 1", "class 2"]
    page.select_option("#model", "plain")
    page.wait_for_selector(_PROBLEM)
    assert page.inner_text("#problem").startswith(
        "Model plain does not have the signature encoded_compact"
    )


def test_the_key_is_asked_for_and_kept_in_memory(serve, visit, model):
    page = visit(serve({"blocks": model}, api_key=_KEY))
    page.fill("#key", "wrong")
    page.click("#key-form button")
    page.wait_for_selector(_PROBLEM)
    assert page.inner_text("#problem").startswith("The key is missing or wrong")
    page.fill("#key", _KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("#key-form", state="hidden")
    _send(page, _upload(_encode(_draw())))
    stored = "[localStorage.length, sessionStorage.length, document.cookie]"
    assert page.evaluate(stored) == [0, 0, ""]
    assert page.input_value("#key") == ""
    page.reload()
    page.wait_for_selector("#key-form:not([hidden])")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(
    serve, visit, model, scheme
):
    page = visit(
        serve({"blocks": model, "another model of a long name": model}),
        viewport={"width": 360, "height": 740},
        color_scheme=scheme,
        has_touch=True,
        is_mobile=True,
    )
    wide = "document.documentElement.scrollWidth - innerWidth"
    page.wait_for_selector("#model-field:not([hidden])")
    assert page.evaluate(wide) <= 0
    name = "a_name_without_any_place_to_break_it_that_is_very_long.png"
    for size in ((90, 140), (400, 100)):
        _send(page, _upload(_encode(_draw(*size)), name))
        assert page.evaluate(wide) <= 0
        page.locator("#stage").scroll_into_view_if_needed()
        page.touchscreen.tap(*_place(page, 0.2, 0.2))
        page.wait_for_selector("#shown:not([hidden])")
        assert page.inner_text("#shown-class") == "car"
        assert page.evaluate(wide) <= 0
