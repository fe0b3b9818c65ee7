/**
 * Drawing with the keyboard: arrow keys move a pen over the sheet, the space bar sets it down and
 * lifts it.
 */

import { SIDE, finished, strokeAt } from "./strokes.js";

const STEP = 16;
const LONG_STEP = 80;
const REACH = 24;
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pen {
  #board;
  #told;
  #x = SIDE / 2;
  #y = SIDE / 2;
  #stroke = null;
  #seen = false;
  #strokes = [];

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./board.js").Board} board
   * @param {object} told what to call: `drawing(stroke)`, `drawn(stroke)`, `said(text)`.
   */
  constructor(canvas, board, told) {
    this.#board = board;
    this.#told = told;
    canvas.addEventListener("keydown", (event) => this.#press(event));
    canvas.addEventListener("focus", () => {
      if (canvas.matches(":focus-visible")) this.#see(true);
    });
    canvas.addEventListener("blur", () => {
      this.#lift();
      this.#see(false);
    });
    canvas.addEventListener("pointerdown", () => this.#see(false));
  }

  set strokes(strokes) {
    this.#strokes = strokes;
  }

  /** The number of the stroke under the pen, or -1. */
  get pointed() {
    return this.#seen ? strokeAt(this.#strokes, this.#x, this.#y, REACH) : -1;
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in WAYS) this.#move(event);
    else if (event.key === " " || event.key === "Enter") this.#turn();
    else if (event.key === "Escape" && this.#stroke) this.#lift();
    else return;
    event.preventDefault();
  }

  #move({ key, shiftKey }) {
    const step = shiftKey ? LONG_STEP : STEP;
    const [right, down] = WAYS[key];
    this.#x = within(this.#x + right * step);
    this.#y = within(this.#y + down * step);
    if (this.#stroke) this.#touch();
    this.#see(true);
  }

  #turn() {
    if (this.#stroke) {
      this.#lift();
    } else {
      this.#stroke = { xs: [], ys: [] };
      this.#touch();
      this.#told.said("Pen down");
    }
    this.#see(true);
  }

  #touch() {
    this.#stroke.xs.push(this.#x);
    this.#stroke.ys.push(this.#y);
    this.#board.show({ live: this.#stroke });
    this.#told.drawing(this.#stroke);
  }

  #lift() {
    if (!this.#stroke) return;
    const stroke = this.#stroke;
    this.#stroke = null;
    this.#board.show({ live: null });
    this.#told.said("Pen up");
    this.#told.drawn(finished(stroke));
  }

  #see(seen) {
    this.#seen = seen;
    const pen = seen ? { x: this.#x, y: this.#y, down: Boolean(this.#stroke) } : null;
    this.#board.show({ pen });
  }
}

function within(value) {
  return Math.min(SIDE - 1, Math.max(0, value));
}
