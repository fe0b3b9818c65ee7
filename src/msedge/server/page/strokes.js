/**
 * The geometry of drawings. A stroke is `{xs, ys}`, whole numbers from 0 to SIDE - 1, y downwards;
 * a drawing is an array of strokes. Nothing here knows of the screen.
 */

/** Units on a side of the sheet. */
export const SIDE = 1024;

/** Thickness of the one brush, in units: what training drew, a little thicker. */
export const BRUSH = 15;

/** How far, in units, a finished stroke may lie from the hand's path: less than a pixel. */
const FAITHFUL = 1.5;

/**
 * Drop the points that a line can do without.
 *
 * Douglas and Peucker, "Algorithms for the reduction of the number of points required to represent
 * a digitized line", Cartographica 10(2), 1973; with a stack, since a scribble is deep.
 */
export function simplify({ xs, ys }, tolerance) {
  const last = xs.length - 1;
  if (last < 2) return { xs: [...xs], ys: [...ys] };
  const kept = new Uint8Array(xs.length);
  kept[0] = kept[last] = 1;
  const spans = [[0, last]];
  while (spans.length) {
    const [from, to] = spans.pop();
    let farthest = 0;
    let at = -1;
    for (let i = from + 1; i < to; i += 1) {
      const away = toSegment(xs[i], ys[i], xs[from], ys[from], xs[to], ys[to]);
      if (away > farthest) [farthest, at] = [away, i];
    }
    if (farthest > tolerance) {
      kept[at] = 1;
      spans.push([from, at], [at, to]);
    }
  }
  return { xs: xs.filter((_, i) => kept[i]), ys: ys.filter((_, i) => kept[i]) };
}

/** A stroke as it is kept: few points, whole numbers, within the sheet. */
export function finished(stroke) {
  const { xs, ys } = simplify(stroke, FAITHFUL);
  const whole = { xs: [], ys: [] };
  for (let i = 0; i < xs.length; i += 1) {
    const [x, y] = [snap(xs[i]), snap(ys[i])];
    const end = whole.xs.length - 1;
    if (end >= 0 && whole.xs[end] === x && whole.ys[end] === y) continue;
    whole.xs.push(x);
    whole.ys.push(y);
  }
  return whole;
}

/** The number of the stroke at a place, the topmost first, or -1. */
export function strokeAt(strokes, x, y, reach) {
  for (let i = strokes.length - 1; i >= 0; i -= 1) {
    if (distance(strokes[i], x, y) <= reach) return i;
  }
  return -1;
}

/** How far a place is from a stroke, in units. */
export function distance({ xs, ys }, x, y) {
  let nearest = Math.hypot(x - xs[0], y - ys[0]);
  for (let i = 1; i < xs.length; i += 1) {
    nearest = Math.min(nearest, toSegment(x, y, xs[i - 1], ys[i - 1], xs[i], ys[i]));
  }
  return nearest;
}

function snap(value) {
  return Math.min(SIDE - 1, Math.max(0, Math.round(value)));
}

function toSegment(x, y, x1, y1, x2, y2) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const length = dx * dx + dy * dy;
  const along = length ? Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / length)) : 0;
  return Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
}
