// The list of classes with their switches, and the list of segments.

const COUNT = new Intl.NumberFormat("en");

export function formatCount(value) {
  return COUNT.format(value);
}

export function formatShare(part, whole) {
  const percent = 100 * part / whole;
  if (percent > 0 && percent < 0.1) return "< 0.1 %";
  return `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

export function formatScore(score) {
  return score.toFixed(2);
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

export function paintSwatch(swatch, [red, green, blue]) {
  swatch.style.backgroundColor = `rgb(${red} ${green} ${blue})`;
}

function makeSwatch(color) {
  const swatch = make("span", "swatch");
  swatch.setAttribute("aria-hidden", "true");
  paintSwatch(swatch, color);
  return swatch;
}

// Makes a number whose title, which stands above the list, is read out.
function makeNumber(title, text) {
  const number = make("span", "number", text);
  number.prepend(make("span", "hidden", title));
  return number;
}

// Switches of classes. `change` is called after one was switched.
export class ClassList {
  constructor(change) {
    this.list = document.getElementById("class-list");
    this.change = change;
    this.groups = [];
    for (const [id, isShown] of [["show-all", true], ["show-none", false]]) {
      document.getElementById(id).addEventListener("click", () => {
        for (const group of this.groups) group.isShown = isShown;
        for (const box of this.list.querySelectorAll("input")) {
          box.checked = isShown;
        }
        this.change();
      });
    }
  }

  fill(result) {
    this.groups = result.groups;
    const area = result.width * result.height;
    this.list.replaceChildren(...result.groups.map((group) => {
      const item = document.createElement("li");
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = group.isShown;
      box.addEventListener("change", () => {
        group.isShown = box.checked;
        this.change();
      });
      const note = group.isthing
        ? formatCount(group.segments.length) : formatShare(group.area, area);
      label.append(
        box, makeSwatch(group.color), make("span", "name", group.name),
        make("span", "number", note));
      item.append(label);
      return item;
    }));
  }
}

// Segments, one of which may be chosen. `choose` is called with its id, and
// `point` with the id of one that the mouse is over, or null.
export class SegmentList {
  constructor(choose, point) {
    this.list = document.getElementById("segment-list");
    this.choose = choose;
    this.options = new Map();
    this.list.addEventListener("keydown", (event) => this.press(event));
    this.list.addEventListener("focus", () => {
      const isByKey = this.list.matches(":focus-visible");
      if (isByKey && !this.chosen) this.step(() => 0);
    });
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.choose(Number(option.dataset.id));
    });
    this.list.addEventListener("pointerover", (event) => {
      const option = event.target.closest("[role=option]");
      if (event.pointerType === "mouse" && option) {
        point(Number(option.dataset.id));
      }
    });
    this.list.addEventListener("pointerleave", () => point(null));
  }

  get chosen() {
    return this.list.querySelector("[aria-selected=true]");
  }

  fill(result) {
    const area = result.width * result.height;
    this.options = new Map(result.segments.map((found) => {
      const option = make("li", "");
      option.id = `segment-${found.id}`;
      option.dataset.id = found.id;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.append(
        makeSwatch(found.color), make("span", "name", found.group.name),
        make("span", "id", ` id ${found.id}`),
        makeNumber(" score ", formatScore(found.score)),
        makeNumber(" area ", formatShare(found.area, area)));
      return [found.id, option];
    }));
    this.list.replaceChildren(...this.options.values());
    this.list.removeAttribute("aria-activedescendant");
    this.dim(result);
  }

  // Makes segments of hidden classes faint.
  dim(result) {
    for (const { id, group } of result.segments) {
      this.options.get(id).classList.toggle("off", !group.isShown);
    }
  }

  // Marks the chosen segment; none where the id is null.
  select(id) {
    this.chosen?.setAttribute("aria-selected", "false");
    const option = this.options.get(id);
    if (!option) {
      this.list.removeAttribute("aria-activedescendant");
      return;
    }
    option.setAttribute("aria-selected", "true");
    this.list.setAttribute("aria-activedescendant", option.id);
    // Scrolls the list, not the page.
    const list = this.list.getBoundingClientRect();
    const row = option.getBoundingClientRect();
    if (row.top < list.top) this.list.scrollTop -= list.top - row.top;
    if (row.bottom > list.bottom) this.list.scrollTop += row.bottom - list.bottom;
  }

  press(event) {
    const last = this.options.size - 1;
    const moves = {
      ArrowDown: (index) => Math.min(index + 1, last),
      ArrowUp: (index) => Math.max(index - 1, 0),
      PageDown: (index) => Math.min(index + 10, last),
      PageUp: (index) => Math.max(index - 10, 0),
      Home: () => 0,
      End: () => last,
    };
    if (event.key in moves && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.step(moves[event.key]);
    }
  }

  step(move) {
    const ids = [...this.options.keys()];
    if (!ids.length) return;
    const index = this.chosen ? ids.indexOf(Number(this.chosen.dataset.id)) : -1;
    this.choose(ids[move(index)]);
  }
}
