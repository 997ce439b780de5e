// What the server said about a photo, with names and colors.

// For models that do not tell their classes.
const COLORS = [
  [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167],
  [86, 180, 233], [213, 94, 0], [240, 228, 66],
];

// Joins an answer, its map of ids and the classes of the model. Segments are
// sorted: things before stuff, of these the largest class first.
export function makeResult(answer, map, model) {
  const classes = new Map(model.classes.map((entry) => [entry.id, entry]));
  const boxes = findBoxes(map);
  const groups = new Map();
  for (const found of answer.segments) {
    if (!groups.has(found.categoryId)) {
      groups.set(found.categoryId, {
        ...(classes.get(found.categoryId) ?? makeClass(found)),
        area: 0, segments: [], isShown: true,
      });
    }
    const group = groups.get(found.categoryId);
    group.area += found.area;
    group.segments.push(found);
  }
  const ordered = [...groups.values()].sort(
    (a, b) => b.isthing - a.isthing || b.area - a.area);
  for (const group of ordered) {
    group.segments = group.segments.map((found, index) => ({
      ...found,
      group,
      box: boxes.get(found.id) ?? [0, 0, 0, 0],
      color: group.shades.length
        ? group.shades[index % group.shades.length] : group.color,
    }));
    group.segments.sort((a, b) => b.area - a.area);
  }
  return {
    ...answer, map, groups: ordered,
    segments: ordered.flatMap((group) => group.segments),
  };
}

function makeClass(found) {
  return {
    id: found.categoryId,
    name: `class ${found.categoryId}`,
    isthing: Number(found.isThing),
    color: COLORS[found.categoryId % COLORS.length],
    shades: [],
  };
}

// Returns [x, y, width, height] by id.
function findBoxes({ width, height, ids }) {
  const sides = new Map();
  let last = -1;
  let box = null;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (ids[i] !== last) {
        last = ids[i];
        box = sides.get(last);
        if (!box) sides.set(last, box = [x, y, x, y]);
      }
      if (x < box[0]) box[0] = x;
      if (x > box[2]) box[2] = x;
      if (y > box[3]) box[3] = y;
    }
  }
  for (const [id, [left, top, right, bottom]] of sides) {
    sides.set(id, [left, top, right - left + 1, bottom - top + 1]);
  }
  return sides;
}

// Returns COCO's panoptic JSON, as deeplab2-predict writes it.
export function toCoco(result, model, photoName, pngName) {
  const id = photoName.replace(/\.[^.]*$/, "");
  return {
    annotations: [{
      image_id: id,
      file_name: pngName,
      segments_info: result.segments
        .map((found) => ({
          id: found.id,
          category_id: found.categoryId,
          area: found.area,
          bbox: found.box,
          iscrowd: 0,
          score: found.score,
        }))
        .sort((a, b) => a.id - b.id),
    }],
    images: [{
      id, file_name: photoName, height: result.height, width: result.width,
    }],
    categories: (model.classes.length ? model.classes : result.groups).map(
      ({ id: category, name, isthing, color }) =>
        ({ id: category, name, isthing, color })),
  };
}
