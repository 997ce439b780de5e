// The photo, the colors of its segments over it, and the mark on one of them.

// Longer side of the drawn maps, and how much small ones are enlarged at most.
const LONGEST = 1400;
const MAX_SCALE = 4;
const BORDER = 0xb3ffffff;
const OUTLINE = 0xffffffff;
const SHADE = 0x80100c0a;

export class Picture {
  constructor() {
    this.stage = document.getElementById("stage");
    this.photo = document.getElementById("photo");
    this.colors = document.getElementById("colors");
    this.mark = document.getElementById("mark");
    this.result = null;
    this.url = "";
  }

  // Shows a photo without segments.
  async showPhoto(blob, name) {
    this.clear();
    URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(blob);
    this.photo.hidden = true;
    this.photo.src = this.url;
    this.photo.alt = name;
    try {
      await this.photo.decode();
    } catch {
      return;  // The server may still understand it.
    }
    this.photo.hidden = false;
    this.setSize(this.photo.naturalWidth, this.photo.naturalHeight);
  }

  clear() {
    this.result = null;
    this.colors.hidden = true;
    this.mark.hidden = true;
  }

  // Whether the photo is shown at the size, and so as upright, as the map is.
  fits(width, height) {
    return this.photo.hidden || (
      this.photo.naturalWidth === width && this.photo.naturalHeight === height);
  }

  setSize(width, height) {
    this.stage.style.setProperty("--ratio", String(width / height));
  }

  showResult(result) {
    const { width, height, ids } = result.map;
    this.setSize(width, height);
    const scale = Math.min(LONGEST / Math.max(width, height), MAX_SCALE);
    this.width = Math.max(1, Math.round(width * scale));
    this.height = Math.max(1, Math.round(height * scale));
    this.ids = shrink(ids, width, height, this.width, this.height);
    this.boxes = new Map(result.segments.map(
      ({ id, box }) => [id, enlarge(box, this.width / width, this.height / height)]));
    for (const canvas of [this.colors, this.mark]) {
      canvas.width = this.width;
      canvas.height = this.height;
    }
    this.result = result;
    this.colors.hidden = false;
    this.paint();
    this.show(null);
  }

  // Paints the segments of the classes that are shown.
  paint() {
    const { segments } = this.result;
    const colors = new Uint32Array(1 + Math.max(0, ...segments.map((s) => s.id)));
    for (const { id, color, group } of segments) {
      if (group.isShown) colors[id] = pack(color);
    }
    this.draw(this.colors, (pixels) => {
      const { ids, width } = this;
      for (let i = 0; i < ids.length; i++) {
        const color = colors[ids[i]];
        if (color === 0) continue;
        const isBorder = ids[i] !== ids[i + 1] || ids[i] !== ids[i + width];
        pixels[i] = isBorder ? BORDER : color;
      }
    });
  }

  // Marks the segment of an id: darkens the others. None where it is null.
  show(id) {
    this.mark.hidden = id === null;
    if (id === null) return;
    const [left, top, right, bottom] = this.boxes.get(id);
    this.draw(this.mark, (pixels) => {
      const { ids, width, height } = this;
      pixels.fill(SHADE);
      const reach = 3;
      const first = Math.max(0, left - reach), last = Math.min(width - 1, right + reach);
      for (let y = Math.max(0, top - reach); y <= Math.min(height - 1, bottom + reach); y++) {
        for (let x = first; x <= last; x++) {
          const i = y * width + x;
          if (ids[i] === id) pixels[i] = 0;
          else if (this.isNear(id, x, y, reach)) pixels[i] = OUTLINE;
        }
      }
    });
  }

  isNear(id, x, y, reach) {
    const { ids, width, height } = this;
    const i = y * width + x;
    for (let step = 1; step <= reach; step++) {
      if (x >= step && ids[i - step] === id) return true;
      if (x + step < width && ids[i + step] === id) return true;
      if (y >= step && ids[i - step * width] === id) return true;
      if (y + step < height && ids[i + step * width] === id) return true;
    }
    return false;
  }

  draw(canvas, fill) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(this.width, this.height);
    fill(new Uint32Array(image.data.buffer));
    context.putImageData(image, 0, 0);
  }

  // Returns the id where a mouse or finger is; null without a map or outside.
  idAt(event) {
    if (!this.result) return null;
    const box = this.stage.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * this.width);
    const y = Math.floor((event.clientY - box.top) / box.height * this.height);
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return null;
    return this.ids[y * this.width + x];
  }
}

// Resizes a map to the nearest neighbor.
function shrink(ids, width, height, newWidth, newHeight) {
  const resized = new Uint32Array(newWidth * newHeight);
  const columns = new Uint32Array(newWidth);
  for (let x = 0; x < newWidth; x++) {
    columns[x] = Math.floor((x + 0.5) * width / newWidth);
  }
  for (let y = 0, i = 0; y < newHeight; y++) {
    const row = Math.floor((y + 0.5) * height / newHeight) * width;
    for (let x = 0; x < newWidth; x++, i++) resized[i] = ids[row + columns[x]];
  }
  return resized;
}

// Returns the sides of a scaled box: left, top, right, bottom.
function enlarge([x, y, width, height], scaleX, scaleY) {
  return [
    Math.floor(x * scaleX), Math.floor(y * scaleY),
    Math.ceil((x + width) * scaleX), Math.ceil((y + height) * scaleY),
  ];
}

// Pixels of a canvas are bytes in the order red, green, blue, opacity.
function pack([red, green, blue]) {
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}
