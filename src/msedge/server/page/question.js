/**
 * What is being looked for: a drawing, a picture, photos that are like it and photos that are not,
 * and filters. A question is never changed in place; each step makes another.
 */

import { finished } from "./strokes.js";

/** Photos that can be liked, and as many not: more would pull to the middle of everything. */
export const MOST_EXAMPLES = 12;

/** Strokes that the server takes. */
export const MOST_STROKES = 1000;

/** The values of the filter by shape. */
export const SHAPES = ["landscape", "portrait", "square"];

export const NO_FILTERS = Object.freeze({ folder: "", orientation: "", after: "", before: "" });

export const NOTHING = Object.freeze({
  strokes: Object.freeze([]),
  picture: null,
  likes: Object.freeze([]),
  unlikes: Object.freeze([]),
  filters: NO_FILTERS,
});

/** Whether there is anything that photos can be compared with. */
export function canBeAsked({ strokes, picture, likes }) {
  return Boolean(strokes.length || picture || likes.length);
}

/** Whether there is nothing to clear. */
export function isBlank(question) {
  return !canBeAsked(question) && !question.unlikes.length;
}

/** How many filters are set. */
export function filterCount({ filters }) {
  return Object.values(filters).filter(Boolean).length;
}

/** The same question with one more photo like it (`likes`) or unlike it (`unlikes`). */
export function withExample(question, kind, id) {
  const other = kind === "likes" ? "unlikes" : "likes";
  return {
    ...question,
    [kind]: [...question[kind].filter((one) => one !== id), id],
    [other]: question[other].filter((one) => one !== id),
  };
}

/** The same question without a photo. */
export function withoutExample(question, id) {
  const without = (ids) => ids.filter((one) => one !== id);
  return { ...question, likes: without(question.likes), unlikes: without(question.unlikes) };
}

/** The same question and filters, with nothing asked. */
export function cleared(question) {
  return { ...NOTHING, filters: question.filters };
}

/**
 * The body of `POST /api/search`.
 *
 * @param {object} question
 * @param {object} more `live` is the stroke being drawn, `image` the picture as base64, `k` how
 *   many photos are wanted.
 */
export function toBody(question, { live, image, k }) {
  const strokes = live ? [...question.strokes, finished(live)] : question.strokes;
  const body = { k };
  if (strokes.length) body.strokes = strokes.map(({ xs, ys }) => [xs, ys]);
  if (image) body.image = image;
  if (question.likes.length) body.like = question.likes;
  if (question.unlikes.length) body.unlike = question.unlikes;
  for (const [name, value] of Object.entries(question.filters)) {
    if (value) body[name] = value;
  }
  return body;
}
