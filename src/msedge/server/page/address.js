/**
 * A question as the part of the address behind the `#`, and back.
 *
 * The address holds all of a question but a picture's pixels, which stay in the tab
 * (`pictures.js`) under the key that the address names.
 */

import { decodeStrokes, encodeStrokes } from "./stroke_code.js";
import { MOST_NAMES, NO_FILTERS, NOTHING, SHAPES } from "./question.js";

const KEY = /^[0-9a-f]{8,64}$/;
const NAME = /^[^\p{Cc}]{1,200}$/u;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** Write a question; `whole` is false where its drawing was too long to be held in full. */
export function toFragment(question) {
  const parts = [];
  const { code, whole } = encodeStrokes(question.strokes);
  if (code) parts.push(`draw=${code}`);
  if (question.picture) parts.push(`picture=${question.picture}`);
  if (question.likes.length) parts.push(`like=${question.likes.join(",")}`);
  if (question.unlikes.length) parts.push(`not=${question.unlikes.join(",")}`);
  for (const name of question.named) parts.push(`name=${encodeURIComponent(name)}`);
  for (const name of question.notNamed) parts.push(`notname=${encodeURIComponent(name)}`);
  if (question.alone) parts.push("names=no");
  for (const [name, value] of Object.entries(question.filters)) {
    if (value) parts.push(`${name}=${encodeURIComponent(value)}`);
  }
  return { fragment: parts.join("&"), whole };
}

/** Read a question; what cannot be read is left out and `readable` is false. */
export function fromFragment(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, "").replaceAll("+", "%2B"));
  const strokes = decodeStrokes(fields.get("draw") ?? "");
  const likes = ids(fields.get("like"));
  const unlikes = ids(fields.get("not"));
  const picture = fields.get("picture");
  const alone = fields.get("names") === "no";
  const filters = {
    folder: fields.get("folder") ?? "",
    orientation: oneOf(SHAPES, fields.get("orientation")),
    after: matching(DAY, fields.get("after")),
    before: matching(DAY, fields.get("before")),
  };
  const question = {
    ...NOTHING,
    strokes: strokes ?? [],
    picture: matching(KEY, picture) || null,
    likes: likes ?? [],
    unlikes: unlikes ?? [],
    named: alone ? [] : names(fields.getAll("name")),
    notNamed: alone ? [] : names(fields.getAll("notname")),
    alone,
    filters: { ...NO_FILTERS, ...filters },
  };
  return { question, readable: Boolean(strokes && likes && unlikes) };
}

function ids(text) {
  if (!text) return [];
  const numbers = text.split(",").map(Number);
  return numbers.every((id) => Number.isSafeInteger(id) && id >= 0) ? [...new Set(numbers)] : null;
}

function names(given) {
  return [...new Set(given.filter((name) => NAME.test(name)))].slice(0, MOST_NAMES);
}

function matching(pattern, text) {
  return text && pattern.test(text) ? text : "";
}

function oneOf(values, text) {
  return values.includes(text) ? text : "";
}
