/**
 * Drawing and rubbing out with a mouse, a finger or a pen.
 *
 * One pointer draws at a time, so that a palm or a second finger does not. Pressure is ignored: the
 * brush is as thick for everyone. The other end of a pen rubs out whatever the mode.
 */

import { finished, strokeAt } from "./strokes.js";

/** How near, in units, the rubber must come to a stroke: a finger is not exact. */
const REACH = { mouse: 20, pen: 20, touch: 40 };
const RUBBER_END = 5;

export class Hand {
  #board;
  #canvas;
  #told;
  #pointer = null;
  #stroke = null;
  #rubbed = null;
  #strokes = [];
  #rubber = false;
  #over = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./board.js").Board} board
   * @param {object} told what to call: `drawing(stroke)` while one is drawn, `drawn(stroke)`, and
   *   `rubbed(strokes)` with those that are left.
   */
  constructor(canvas, board, told) {
    this.#canvas = canvas;
    this.#board = board;
    this.#told = told;
    const on = (type, act) => canvas.addEventListener(type, act);
    on("pointerdown", (event) => this.#begin(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#end(event));
    on("pointercancel", (event) => this.#end(event));
    on("pointerleave", () => this.#leave());
    on("contextmenu", (event) => event.preventDefault()); // a long press is a dot
  }

  /** The strokes that can be rubbed out. */
  set strokes(strokes) {
    this.#strokes = strokes;
    this.#mark();
  }

  set rubber(on) {
    this.#rubber = on;
    this.#mark();
  }

  /** The number of the stroke that is pointed at, or -1. */
  get pointed() {
    if (!this.#over) return -1;
    return strokeAt(this.#strokes, this.#over.x, this.#over.y, REACH[this.#over.type] ?? 20);
  }

  #begin(event) {
    const rubs = this.#rubber || event.button === RUBBER_END;
    if (this.#pointer !== null || (event.button !== 0 && !rubs)) return;
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointAt(event);
    if (rubs) {
      this.#rubbed = this.#strokes;
      this.#rub();
    } else {
      this.#stroke = { xs: [], ys: [] };
      this.#extend([event]);
    }
  }

  #move(event) {
    if (this.#pointer !== null && event.pointerId !== this.#pointer) return;
    this.#pointAt(event);
    if (this.#stroke) this.#extend(coalesced(event));
    else if (this.#rubbed) this.#rub();
    else this.#mark();
  }

  #end(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    const { drawn, rubbed } = this.#told;
    const [stroke, left] = [this.#stroke, this.#rubbed];
    this.#stroke = this.#rubbed = null;
    this.#board.show({ live: null });
    if (stroke) drawn(finished(stroke));
    else if (left) rubbed(left);
    if (event.pointerType === "touch") this.#leave();
  }

  #leave() {
    if (this.#pointer !== null) return;
    this.#over = null;
    this.#mark();
  }

  #pointAt(event) {
    this.#over = { ...this.#board.place(event), type: event.pointerType };
  }

  #extend(events) {
    for (const event of events) {
      const { x, y } = this.#board.place(event);
      this.#stroke.xs.push(x);
      this.#stroke.ys.push(y);
    }
    this.#board.show({ live: this.#stroke });
    this.#told.drawing(this.#stroke);
  }

  #rub() {
    const { x, y, type } = this.#over;
    const at = strokeAt(this.#rubbed, x, y, REACH[type] ?? 20);
    if (at < 0) return;
    this.#rubbed = this.#rubbed.filter((_, i) => i !== at);
    this.#board.show({ strokes: this.#rubbed, marked: -1 });
  }

  #mark() {
    if (this.#rubbed) return;
    const marked = this.#rubber ? this.pointed : -1;
    this.#canvas.classList.toggle("on-stroke", marked >= 0);
    this.#board.show({ marked });
  }
}

function coalesced(event) {
  const events = event.getCoalescedEvents?.() ?? [];
  return events.length ? events : [event];
}
