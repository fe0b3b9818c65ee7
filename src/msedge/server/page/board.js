/**
 * What the canvas shows: the strokes, the one being drawn, the one pointed at with the rubber, and
 * the keyboard's pen. It is told; it decides nothing. Sharp on any screen, since the bitmap has the
 * screen's own pixels.
 */

import { BRUSH, SIDE } from "./strokes.js";

export class Board {
  #canvas;
  #ink;
  #paths = new WeakMap();
  #asked = false;
  #colours = {};
  #shown = { strokes: [], live: null, marked: -1, pen: null };

  constructor(canvas) {
    this.#canvas = canvas;
    this.#ink = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(canvas);
    document.addEventListener("themechange", () => this.#readColours());
    this.#readColours();
  }

  /**
   * Change what is shown.
   *
   * @param {object} changes any of `strokes`, `live` (the stroke being drawn or null), `marked` (the
   *   number of the stroke pointed at or -1), `pen` (`{x, y, down}` or null).
   */
  show(changes) {
    Object.assign(this.#shown, changes);
    this.#repaint();
  }

  /** Where an event happened, in the sheet's units; beyond the edge where a hand slips over it. */
  place(event) {
    const box = this.#canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * SIDE,
      y: ((event.clientY - box.top) / box.height) * SIDE,
    };
  }

  #fit() {
    const box = this.#canvas.getBoundingClientRect();
    const side = Math.max(1, Math.round(box.width * window.devicePixelRatio));
    if (this.#canvas.width !== side) this.#canvas.width = this.#canvas.height = side;
    this.#paint();
  }

  #readColours() {
    const style = getComputedStyle(this.#canvas);
    for (const name of ["ink", "danger", "accent"]) {
      this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    this.#repaint();
  }

  #repaint() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#paint();
    });
  }

  #paint() {
    const ink = this.#ink;
    const { strokes, live, marked, pen } = this.#shown;
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const scale = this.#canvas.width / SIDE;
    ink.scale(scale, scale);
    Object.assign(ink, { lineCap: "round", lineJoin: "round", lineWidth: BRUSH });
    strokes.forEach((stroke, i) => {
      ink.strokeStyle = i === marked ? this.#colours.danger : this.#colours.ink;
      ink.stroke(this.#path(stroke));
    });
    ink.strokeStyle = this.#colours.ink;
    if (live) ink.stroke(pathOf(live));
    if (pen) this.#paintPen(pen);
  }

  #paintPen({ x, y, down }) {
    const ink = this.#ink;
    ink.strokeStyle = ink.fillStyle = this.#colours.accent;
    ink.lineWidth = 5;
    ink.beginPath();
    ink.arc(x, y, 20, 0, 2 * Math.PI);
    ink.moveTo(x - 34, y);
    ink.lineTo(x + 34, y);
    ink.moveTo(x, y - 34);
    ink.lineTo(x, y + 34);
    ink.stroke();
    if (!down) return;
    ink.beginPath();
    ink.arc(x, y, 13, 0, 2 * Math.PI);
    ink.fill();
  }

  #path(stroke) {
    let path = this.#paths.get(stroke);
    if (!path) this.#paths.set(stroke, (path = pathOf(stroke)));
    return path;
  }
}

function pathOf({ xs, ys }) {
  const path = new Path2D();
  path.moveTo(xs[0], ys[0]);
  for (let i = 1; i < xs.length; i += 1) path.lineTo(xs[i], ys[i]);
  if (xs.length === 1) path.lineTo(xs[0] + 0.01, ys[0]); // a dot: round caps need some length
  return path;
}
