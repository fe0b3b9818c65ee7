/**
 * What is being looked for: a drawing, a picture, photos that are like it and photos that are not,
 * names of what it is and is not, and filters. A question is never changed in place; each step makes
 * another.
 */

import { finished } from "./strokes.js";

/** Photos that can be liked, and as many not: more would pull to the middle of everything. */
export const MOST_EXAMPLES = 12;

/** Names of what it is, and as many of what it is not. */
export const MOST_NAMES = 12;

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
  named: Object.freeze([]),
  notNamed: Object.freeze([]),
  alone: false, // whether the drawing counts without what it is likely of
  filters: NO_FILTERS,
});

/** Whether there is anything that photos can be compared with. */
export function canBeAsked({ strokes, picture, likes, named }) {
  return Boolean(strokes.length || picture || likes.length || named.length);
}

/** Whether there is nothing to clear. */
export function isBlank(question) {
  return !canBeAsked(question) && !question.unlikes.length && !question.notNamed.length;
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

/** The same question with one more name of what it is (`named`) or is not (`notNamed`). */
export function withName(question, kind, name) {
  const without = withoutName(question, name);
  return { ...without, alone: false, [kind]: [...without[kind], name] };
}

/** The same question without a name. */
export function withoutName(question, name) {
  const without = (names) => names.filter((one) => one !== name);
  return { ...question, named: without(question.named), notNamed: without(question.notNamed) };
}

/** The same question for the drawing alone, or with the names that it is likely of. */
export function withoutNames(question, alone) {
  return { ...question, alone, named: [], notNamed: [] };
}

/** The same question and filters, with nothing asked. */
export function cleared(question) {
  return { ...NOTHING, alone: question.alone, filters: question.filters };
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
  if (question.named.length) body.name = question.named;
  if (question.notNamed.length) body.not_names = question.notNamed;
  if (question.alone) body.names = false;
  for (const [name, value] of Object.entries(question.filters)) {
    if (value) body[name] = value;
  }
  return body;
}
