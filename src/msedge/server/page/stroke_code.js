/**
 * Drawings as short text that an address can hold.
 *
 * Numbers are written five bits a letter, the sixth saying that more follow (variable-length
 * quantities, as in source maps); points are differences from the point before, so that most take
 * two letters. A code that would be too long holds the drawing more coarsely.
 */

import { SIDE, simplify } from "./strokes.js";

/** Letters at most. Browsers and messengers carry addresses of about 8,000. */
export const LONGEST = 6000;

const VERSION = "1";
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TOLERANCES = [0, 3, 6, 12, 24, 48];

/**
 * Write a drawing as text.
 *
 * @returns {{code: string, whole: boolean}} `whole` is false when even the coarsest form was too
 *   long, so that the last strokes are missing.
 */
export function encodeStrokes(strokes) {
  if (!strokes.length) return { code: "", whole: true };
  for (const tolerance of TOLERANCES) {
    const code = written(strokes, tolerance);
    if (code.length <= LONGEST) return { code, whole: true };
  }
  const coarsest = TOLERANCES.at(-1);
  let fits = strokes.length;
  let code;
  do {
    fits = Math.floor(fits * 0.9);
    code = written(strokes.slice(0, fits), coarsest);
  } while (code.length > LONGEST);
  return { code, whole: false };
}

/** Read a drawing from text; null where the text is no drawing. */
export function decodeStrokes(code) {
  if (!code) return [];
  if (code[0] !== VERSION || code.length > LONGEST) return null;
  const numbers = readNumbers(code.slice(1));
  if (!numbers) return null;
  const strokes = [];
  let [at, x, y] = [0, 0, 0];
  while (at < numbers.length) {
    const points = numbers[at];
    at += 1;
    if (points < 1 || at + 2 * points > numbers.length) return null;
    const stroke = { xs: [], ys: [] };
    for (let i = 0; i < points; i += 1, at += 2) {
      x += signed(numbers[at]);
      y += signed(numbers[at + 1]);
      if (!onSheet(x) || !onSheet(y)) return null;
      stroke.xs.push(x);
      stroke.ys.push(y);
    }
    strokes.push(stroke);
  }
  return strokes;
}

function written(strokes, tolerance) {
  let code = VERSION;
  let [x, y] = [0, 0];
  for (const stroke of strokes) {
    const { xs, ys } = tolerance ? simplify(stroke, tolerance) : stroke;
    code += letters(xs.length);
    for (let i = 0; i < xs.length; i += 1) {
      code += letters(unsigned(xs[i] - x)) + letters(unsigned(ys[i] - y));
      [x, y] = [xs[i], ys[i]];
    }
  }
  return code;
}

function letters(number) {
  let text = "";
  do {
    const rest = number >> 5;
    text += LETTERS[(number & 31) | (rest ? 32 : 0)];
    number = rest;
  } while (number);
  return text;
}

function readNumbers(text) {
  const numbers = [];
  let [number, shift] = [0, 0];
  for (const letter of text) {
    const bits = LETTERS.indexOf(letter);
    if (bits < 0 || shift > 15) return null;
    number |= (bits & 31) << shift;
    if (bits & 32) {
      shift += 5;
    } else {
      numbers.push(number);
      [number, shift] = [0, 0];
    }
  }
  return shift ? null : numbers;
}

function unsigned(number) {
  return number < 0 ? -2 * number - 1 : 2 * number;
}

function signed(number) {
  return number & 1 ? -(number + 1) / 2 : number / 2;
}

function onSheet(value) {
  return value >= 0 && value < SIDE;
}
