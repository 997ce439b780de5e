// Joins the parts of the page: a photo is chosen, sent, and shown segmented.

import {
  ClassList, SegmentList, formatCount, formatScore, formatShare, paintSwatch,
} from "./lists.js";
import { decode } from "./panoptic_png.js";
import { Picture } from "./picture.js";
import { RequestError, listModels, segment, setKey } from "./requests.js";
import { makeResult, toCoco } from "./result.js";

const LOOK_AGAIN = 2000;
// No answer, or one that may be another the next time.
const RETRIED = new Set([0, 408, 429, 500, 503, 504]);

const element = (id) => document.getElementById(id);

let models = [];
let maxBytes = Infinity;
// The photo, { blob, bytes, name }, and what the server said about it.
let photo = null;
let result = null;
// The segment that was chosen, and the one that the mouse is over.
let chosen = null;
let pointed = null;
let request = null;
let timer = 0;
let urls = [];

const picture = new Picture();
const classes = new ClassList(() => {
  picture.paint();
  segments.dim(result);
});
const segments = new SegmentList(choose, point);

// Models

async function loadModels() {
  let listed;
  try {
    listed = await listModels();
  } catch (error) {
    element("key-form").hidden = error.status !== 401;
    if (error.status === 401) {
      report(element("key").value ? error.message : "");
      element("key").focus();
    } else {
      report(describe(error));
      again(loadModels);
    }
    return false;
  }
  models = listed.models;
  maxBytes = listed.max_body_bytes;
  element("key-form").hidden = true;
  element("limit").textContent = ` of at most ${formatBytes(maxBytes)}`;
  element("model").replaceChildren(
    ...models.map((model) => new Option(model.name)));
  element("model-field").hidden = models.length < 2;
  // A photo may have been chosen before.
  if (showModel() && photo && !result) send();
  lookAgain();
  return true;
}

// Waits for models that are being loaded.
function lookAgain() {
  clearTimeout(timer);
  if (models.every((model) => model.version !== null)) return;
  timer = setTimeout(async () => {
    const before = currentModel();
    try {
      if (!document.hidden) models = (await listModels()).models;
    } catch {
      // The server may be started again.
    }
    const after = currentModel();
    if (!after) {
      // The server was started again, with other models.
      loadModels();
      return;
    }
    const isNew = after.version !== before.version ||
      after.problem !== before.problem;
    if (isNew && showModel() && photo && !result) send();
    lookAgain();
  }, LOOK_AGAIN);
}

function currentModel() {
  return models.find((model) => model.name === element("model").value);
}

// Says why the model cannot be used; returns whether it can.
function showModel() {
  const { name, version, problem, has_compact: hasCompact } = currentModel();
  let sentence = "";
  if (version === null) {
    sentence = problem || `Model ${name} is being loaded.`;
  } else if (!hasCompact) {
    sentence = `Model ${name} does not have the signature encoded_compact, ` +
      "which this page needs. Export it again without --nocompact_signature.";
  }
  const isLoading = version === null && !problem;
  say(isLoading ? sentence : "");
  report(isLoading ? "" : sentence);
  return !sentence;
}

// Photos

async function take(blob, name) {
  let bytes;
  try {
    bytes = await blob.arrayBuffer();
  } catch {
    report(`${name} cannot be read. Choose a JPEG or PNG file.`);
    return;
  }
  photo = { blob, bytes, name };
  await send();
}

async function send() {
  request?.abort();
  if (!photo || !models.length || !showModel()) return;
  const { signal } = request = new AbortController();
  const { blob, bytes, name } = photo;
  clear();
  if (bytes.byteLength > maxBytes) {
    element("result").hidden = true;
    report(`${name} has ${formatBytes(bytes.byteLength)}, more than the ` +
      `server takes, ${formatBytes(maxBytes)}. Choose a smaller file.`);
    return;
  }
  const model = currentModel();
  say(`Computing the segments of ${name} ...`);
  element("busy").hidden = false;
  const isSeen = picture.showPhoto(blob, name);
  const start = performance.now();
  try {
    const answer = await segment(model.name, bytes, signal);
    const seconds = (performance.now() - start) / 1000;
    const [map] = await Promise.all([decode(answer.png), isSeen]);
    if (!signal.aborted) await show(answer, map, seconds);
  } catch (error) {
    if (signal.aborted) return;
    element("result").hidden = true;
    say("");
    report(describe(error));
    if (error.status === 401) {
      element("key-form").hidden = false;
      element("key").focus();
    } else if (RETRIED.has(error.status)) {
      again(send);
    }
  }
  if (!signal.aborted) element("busy").hidden = true;
}

function clear() {
  report("");
  result = null;
  chosen = pointed = null;
  picture.clear();
  element("busy").hidden = true;
  document.body.classList.remove("empty");
  element("result").hidden = false;
  element("result").classList.add("waiting");
  showCard(null);
}

async function show(answer, map, seconds) {
  // A new version may have other classes.
  if (answer.version !== currentModel().version) {
    models = (await listModels()).models;
  }
  const model = currentModel();
  result = makeResult(answer, map, model);
  picture.showResult(result);
  classes.fill(result);
  segments.fill(result);
  element("result").classList.remove("waiting");
  if (!picture.fits(result.width, result.height)) {
    report("This browser shows the photo turned otherwise than the server, " +
      "so that the colors do not lie on it. Save the photo upright.");
  }
  const count = result.segments.length;
  const time = `${seconds.toFixed(2)} s`;
  element("fact-name").textContent = photo.name;
  element("fact-size").textContent =
    `${formatCount(result.width)} x ${formatCount(result.height)} pixels`;
  element("fact-time").textContent = time;
  element("fact-model").textContent =
    `${model.name}, version ${answer.version}` +
    (model.data_set ? `, classes of ${model.data_set}` : "");
  element("colors").setAttribute(
    "aria-label", `Colors of ${count} segments over the photo`);
  offerFiles(model);
  say(count ? `${formatCount(count)} segments in ` +
    `${formatCount(result.groups.length)} classes, ${time}.`
    : `No segments, ${time}.`);
}

function offerFiles(model) {
  for (const url of urls) URL.revokeObjectURL(url);
  const stem = photo.name.replace(/\.[^.]*$/, "");
  const pngName = `${stem}_panoptic.png`;
  const text = JSON.stringify(toCoco(result, model, photo.name, pngName));
  const files = [
    ["save-png", pngName, new Blob([result.png], { type: "image/png" })],
    ["save-json", `${stem}_panoptic.json`,
      new Blob([text], { type: "application/json" })],
  ];
  urls = files.map(([id, name, blob]) => {
    const link = element(id);
    link.download = name;
    return link.href = URL.createObjectURL(blob);
  });
}

// Segments

function choose(id) {
  chosen = id;
  segments.select(id);
  showCard(pointed ?? chosen);
}

function point(id) {
  if (id === pointed) return;
  pointed = id;
  showCard(pointed ?? chosen);
}

function showCard(id) {
  const found = result?.segments.find((one) => one.id === id) ?? null;
  if (result) picture.show(found ? found.id : null);
  element("hint").hidden = found !== null;
  element("shown").hidden = found === null;
  if (!found) return;
  paintSwatch(element("shown-color"), found.color);
  element("shown-class").textContent = found.group.name;
  element("shown-score").textContent = formatScore(found.score);
  const share = formatShare(found.area, result.width * result.height);
  element("shown-area").textContent = `${formatCount(found.area)} px, ${share}`;
  element("shown-id").textContent = found.id;
}

function isSegment(id) {
  return result?.segments.some((one) => one.id === id) ?? false;
}

const stage = element("stage");
stage.addEventListener("pointermove", (event) => {
  if (event.pointerType !== "mouse") return;
  const id = picture.idAt(event);
  point(isSegment(id) ? id : null);
  showName(event, id);
});
stage.addEventListener("pointerleave", () => {
  point(null);
  element("pointed").hidden = true;
});
stage.addEventListener("click", (event) => {
  const id = picture.idAt(event);
  choose(isSegment(id) && id !== chosen ? id : null);
});

// Writes the name of a class beside the mouse.
function showName(event, id) {
  const label = element("pointed");
  label.hidden = id === null;
  if (id === null) return;
  const found = result.segments.find((one) => one.id === id);
  label.textContent = found
    ? `${found.group.name} ${formatScore(found.score)}` : "no segment";
  const box = stage.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const isLeft = x > box.width - label.offsetWidth - 24;
  const left = isLeft ? x - label.offsetWidth - 12 : x + 16;
  const top = Math.min(y + 16, box.height - label.offsetHeight - 4);
  label.style.transform = `translate(${left}px, ${top}px)`;
}

// Messages

function say(sentence) {
  element("status").textContent = sentence;
}

function report(sentence) {
  element("problem").textContent = sentence;
  element("problem-box").hidden = !sentence;
  element("again").hidden = true;
}

let repeat = null;

function again(action) {
  repeat = action;
  element("again").hidden = false;
}

function describe(error) {
  if (error instanceof RequestError) return error.message;
  return `The page failed: ${error.message}`;
}

function formatBytes(count) {
  return count < 1e6 ? `${Math.ceil(count / 1000)} kB`
    : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}

// Ways to choose

element("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) take(file, file.name);
  // The same file may be chosen again.
  event.target.value = "";
});
for (const button of document.querySelectorAll(".sample")) {
  button.addEventListener("click", async () => {
    const name = button.dataset.file;
    try {
      const response = await fetch(`page/${name}`);
      await take(await response.blob(), name);
    } catch {
      report("The server does not answer. See whether it runs, then try again.");
    }
  });
}
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) {
    event.preventDefault();
    take(file, file.name || "pasted.png");
  }
});
const hasFiles = (event) => event.dataTransfer.types.includes("Files");
let depth = 0;
document.addEventListener("dragenter", (event) => {
  if (hasFiles(event)) document.body.classList.toggle("dragging", ++depth > 0);
});
document.addEventListener("dragleave", (event) => {
  if (hasFiles(event)) document.body.classList.toggle("dragging", --depth > 0);
});
document.addEventListener("dragover", (event) => {
  if (hasFiles(event)) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dragging");
  depth = 0;
  const [file] = event.dataTransfer.files;
  if (file) {
    event.preventDefault();
    take(file, file.name);
  }
});

element("model").addEventListener("change", () => {
  if (showModel()) send();
});
element("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = element("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(text)) {
    report("The key has characters that no key has. Give it as the server has it.");
    return;
  }
  setKey(text);
  if (await loadModels()) {
    element("key").value = "";
    if (!photo) element("file").focus();
  }
});
element("again").addEventListener("click", () => {
  report("");
  repeat();
});
element("opacity").addEventListener("input", showOpacity);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") choose(null);
});

function showOpacity() {
  const { value } = element("opacity");
  element("opacity-value").textContent = `${value} %`;
  element("colors").style.opacity = value / 100;
}

showOpacity();
loadModels();
