// Asks the server: which models there are, and for the segments of a photo.

const OUTPUTS = [
  "num_segments", "segment_id", "segment_category_id", "segment_isthing",
  "segment_score", "segment_area", "height", "width", "error",
];
const LENGTH = "Inference-Header-Content-Length";

// What was wrong, in one sentence. `status` is that of HTTP, 0 without answer.
export class RequestError extends Error {
  constructor(sentence, status = 0) {
    super(sentence);
    this.status = status;
  }
}

// Is nowhere but here.
let key = "";

export function setKey(text) {
  key = text;
}

export async function listModels() {
  const { body } = await ask("page/models");
  return JSON.parse(new TextDecoder().decode(body));
}

// Asks for the segments of the bytes of a file.
export async function segment(model, bytes, signal) {
  const head = new TextEncoder().encode(JSON.stringify({
    inputs: [{
      name: "image_bytes", shape: [1], datatype: "BYTES",
      parameters: { binary_data_size: 4 + bytes.byteLength },
    }],
    outputs: [
      { name: "panoptic_png_bytes", parameters: { binary_data: true } },
      ...OUTPUTS.map((name) => ({ name })),
    ],
    parameters: { signature_name: "encoded_compact" },
  }));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, bytes.byteLength, true);
  const { response, body } = await ask(
    `v2/models/${encodeURIComponent(model)}/infer`, {
      method: "POST",
      headers: { [LENGTH]: String(head.byteLength) },
      body: new Blob([head, length.buffer, bytes]),
      signal,
    });
  return readAnswer(body, Number(response.headers.get(LENGTH)));
}

function readAnswer(body, length) {
  const text = new TextDecoder().decode(body.slice(0, length));
  const answer = JSON.parse(text);
  const found = Object.fromEntries(
    answer.outputs.map((output) => [output.name, output.data]));
  const [sentence] = found.error;
  if (sentence) throw new RequestError(sentence, 400);
  const segments = [];
  for (let row = 0; row < found.num_segments[0]; row++) {
    segments.push({
      id: found.segment_id[row],
      categoryId: found.segment_category_id[row],
      isThing: found.segment_isthing[row],
      score: found.segment_score[row],
      area: found.segment_area[row],
    });
  }
  return {
    version: answer.model_version,
    height: found.height[0],
    width: found.width[0],
    // Its length comes first, 4 bytes.
    png: body.slice(length + 4),
    segments,
  };
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response, body;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
    body = await response.arrayBuffer();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(
      "The server does not answer. See whether it runs, then try again.");
  }
  if (!response.ok) {
    throw new RequestError(readSentence(body, response), response.status);
  }
  return { response, body };
}

function readSentence(body, response) {
  try {
    const { error } = JSON.parse(new TextDecoder().decode(body));
    if (typeof error === "string") return error;
  } catch {
    // A proxy may answer with something else.
  }
  return `The server answered with the status ${response.status}.`;
}
