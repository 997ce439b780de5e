"use strict";
// Sorts tables by their columns, and shows pictures enlarged.

for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(table, headers, index));
    header.replaceChildren(button);
  });
}

function sort(table, headers, index) {
  const header = headers[index];
  const isNumber = header.classList.contains("num");
  const before = header.getAttribute("aria-sort");
  // Numbers begin with the largest, names with the first.
  const isUp = before ? before === "descending" : !isNumber;
  for (const other of headers) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", isUp ? "ascending" : "descending");
  const body = table.tBodies[table.tBodies.length - 1];
  const rows = [...body.rows];
  const sign = isUp ? 1 : -1;
  rows.sort((a, b) => {
    const [x, y] = [a.cells[index], b.cells[index]];
    const hasValues = "value" in x.dataset || "value" in y.dataset;
    if (!isNumber && !hasValues) {
      const names = x.textContent.localeCompare(
        y.textContent, undefined, { numeric: true });
      return sign * names;
    }
    // Dashes are last in both directions.
    const first = "value" in x.dataset, second = "value" in y.dataset;
    if (first !== second) return first ? -1 : 1;
    return first ? sign * (x.dataset.value - y.dataset.value) : 0;
  });
  body.append(...rows);
}

const viewer = document.getElementById("viewer");
const pictures = [...document.querySelectorAll(".enlarge")];
let shown = 0;

function show(index) {
  shown = (index + pictures.length) % pictures.length;
  const source = pictures[shown].querySelector("img");
  const image = viewer.querySelector("img");
  image.src = source.src;
  image.alt = source.alt;
  document.getElementById("viewer-title").textContent = source.alt;
}

pictures.forEach((button, index) => {
  button.addEventListener("click", () => {
    show(index);
    viewer.showModal();
  });
});
viewer.addEventListener("keydown", (event) => {
  const row = Number(viewer.dataset.row);
  const steps = {
    ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row,
  };
  if (event.key in steps) {
    event.preventDefault();
    show(shown + steps[event.key]);
  }
});
viewer.addEventListener("close", () => pictures[shown].focus());
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close();
});
