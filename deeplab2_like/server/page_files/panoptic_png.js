// Decodes PNGs of ids exactly. A canvas would not do: some browsers add noise
// to what is read from one, so that it does not tell users apart.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS = 3;

// Returns { width, height, ids }, with ids = R + 256 G + 65536 B row by row.
export async function decode(buffer) {
  const { width, height, parts } = readChunks(buffer);
  const stream = new Blob(parts).stream().pipeThrough(
    new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const stride = width * CHANNELS;
  if (bytes.length !== (stride + 1) * height) throw damaged();
  const ids = new Uint32Array(width * height);
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1);
    const line = bytes.subarray(start + 1, start + 1 + stride);
    restore(bytes[start], line, above);
    for (let x = 0, i = 0; x < width; x++, i += CHANNELS) {
      ids[y * width + x] =
        line[i] + (line[i + 1] << 8) + (line[i + 2] << 16);
    }
    above = line;
  }
  return { width, height, ids };
}

function readChunks(buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  if (!SIGNATURE.every((value, i) => bytes[i] === value)) throw damaged();
  let size = null;
  const parts = [];
  for (let place = SIGNATURE.length; place + 12 <= bytes.length;) {
    const length = view.getUint32(place);
    const name = String.fromCharCode(...bytes.subarray(place + 4, place + 8));
    const data = bytes.subarray(place + 8, place + 8 + length);
    if (name === "IHDR") size = readHeader(data);
    if (name === "IDAT") parts.push(data);
    place += 12 + length;
  }
  if (size === null) throw damaged();
  return { ...size, parts };
}

function readHeader(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const [depth, color, , , interlace] = data.subarray(8);
  // 8 bits, RGB, rows from top to bottom.
  if (depth !== 8 || color !== 2 || interlace !== 0) throw damaged();
  return { width: view.getUint32(0), height: view.getUint32(4) };
}

// Undoes the filter of a row (PNG specification, section 9), in place.
function restore(filter, line, above) {
  if (filter === 0) return;
  if (filter > 4) throw damaged();
  for (let i = 0; i < line.length; i++) {
    const left = i < CHANNELS ? 0 : line[i - CHANNELS];
    const up = above[i];
    const corner = i < CHANNELS ? 0 : above[i - CHANNELS];
    if (filter === 1) line[i] += left;
    else if (filter === 2) line[i] += up;
    else if (filter === 3) line[i] += (left + up) >> 1;
    else line[i] += predict(left, up, corner);
  }
}

function predict(left, up, corner) {
  const guess = left + up - corner;
  const a = Math.abs(guess - left);
  const b = Math.abs(guess - up);
  const c = Math.abs(guess - corner);
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

function damaged() {
  return new Error("The server's PNG is not as it should be.");
}
