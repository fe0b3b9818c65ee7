/**
 * Where it is: a thin outline in each photo that is shown.
 *
 * Photos are asked for when their answer has stood for a while, those in view alone, and whatever
 * is under way is dropped when the next question begins: finding comes first.
 */

import { where } from "./api.js";
import { make } from "./elements.js";

/** Milliseconds that an answer, or the scrolling, must rest. */
const REST = 250;

/** Photos that are asked for at a time: the server takes 48. */
const MOST = 24;

/** Of a photo: an outline around nearly all of it would say nothing. */
const WHOLE = 0.8;

const KEY = "msedge-where";

export class Where {
  #button;
  #list;
  #found;
  #body = null;
  #boxes = new Map();
  #asked = new Set();
  #wanted = null;
  #waiting = null;
  #underWay = null;

  /**
   * @param {HTMLButtonElement} button switches it on and off.
   * @param {HTMLElement} list of cards.
   * @param {() => void} found is called when more is known.
   */
  constructor(button, list, found) {
    this.#button = button;
    this.#list = list;
    this.#found = found;
    button.ariaPressed = String(remembered());
    button.addEventListener("click", () => this.#switch());
    for (const name of ["scroll", "resize"]) {
      addEventListener(name, () => this.#soon(), { capture: true, passive: true });
    }
  }

  /** Take whether the gallery's model tells places at all. */
  offer(places) {
    this.#button.hidden = !places;
    if (places) this.#soon();
  }

  get isOn() {
    return !this.#button.hidden && this.#button.ariaPressed === "true";
  }

  /** Follow an answer that is shown: its question, or null. */
  follow(body) {
    const same = body && this.#body && written(body) === written(this.#body);
    this.#body = body;
    if (!same) {
      this.#boxes.clear();
      this.#asked.clear();
    }
    this.#paint();
    this.#soon();
  }

  /** Make way for another question. */
  drop() {
    clearTimeout(this.#waiting);
    this.#underWay?.abort();
  }

  /** The box in a photo that is looked at, asked for where it is not known; null for none. */
  of(id) {
    if (!this.isOn) return null;
    if (!this.#asked.has(id)) {
      this.#wanted = id;
      this.#soon();
    }
    return this.#boxes.get(id) ?? null;
  }

  #switch() {
    this.#button.ariaPressed = String(this.#button.ariaPressed !== "true");
    remember(this.#button.ariaPressed === "true");
    this.#paint();
    this.#found();
    this.#soon();
  }

  #soon(seconds = 0) {
    if (!this.isOn || !this.#body) return;
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.#ask(), Math.max(REST, 1000 * seconds));
  }

  async #ask() {
    if (this.#underWay || !this.isOn || !this.#body) return;
    const photos = this.#inView();
    if (!photos.length) return;
    const abort = (this.#underWay = new AbortController());
    let again = 0;
    try {
      const answer = await where({ ...this.#body, photos }, abort.signal);
      if (abort.signal.aborted) return;
      for (const id of photos) this.#asked.add(id);
      for (const box of answer.boxes) this.#boxes.set(box.id, box);
      this.#paint();
      this.#found();
    } catch (error) {
      again = error.wait;
      if (!again) return; // what is wrong with the server, searches tell
    } finally {
      this.#underWay = null;
    }
    this.#soon(again);
  }

  #inView() {
    const near = innerHeight / 4;
    const seen = [...this.#list.children].filter((card) => {
      const { top, bottom } = card.getBoundingClientRect();
      return bottom > -near && top < innerHeight + near;
    });
    const ids = [this.#wanted, ...seen.map((card) => Number(card.dataset.id))];
    const unknown = ids.filter((id) => id !== null && !this.#asked.has(id));
    return [...new Set(unknown)].slice(0, MOST);
  }

  #paint() {
    for (const card of this.#list.children) {
      const box = this.isOn ? (this.#boxes.get(Number(card.dataset.id)) ?? null) : null;
      outline(card.querySelector(".where"), box);
    }
  }
}

/**
 * Draw a box over a photo, or take it away.
 *
 * @param {SVGElement} over the photo, with its size as the view box, fitted as the photo is.
 * @param {object|null} box in shares of the photo's sides.
 */
export function outline(over, box) {
  const shown = box && (box.right - box.left) * (box.bottom - box.top) <= WHOLE;
  if (!shown) {
    over.replaceChildren();
    return;
  }
  const { width, height } = over.viewBox.baseVal;
  const sides = {
    x: box.left * width,
    y: box.top * height,
    width: (box.right - box.left) * width,
    height: (box.bottom - box.top) * height,
  };
  // A light line on a dark one is seen on any photo.
  over.replaceChildren(make.svg("rect", sides), make.svg("rect", sides));
}

/** Where a box lies, in words. */
export function placeText(box) {
  const { left, top, right, bottom } = box;
  const share = (right - left) * (bottom - top);
  if (share > WHOLE) return "all over the photo";
  const third = (middle, words) => words[Math.min(2, Math.floor(3 * middle))];
  const row = third((top + bottom) / 2, ["upper", "middle", "lower"]);
  const column = third((left + right) / 2, ["left", "centre", "right"]);
  return `${row} ${column}, ${Math.max(1, Math.round(100 * share))} % of the photo`;
}

function written(body) {
  return JSON.stringify({ ...body, k: 0 });
}

function remembered() {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true; // storage is switched off
  }
}

function remember(isOn) {
  try {
    localStorage.setItem(KEY, isOn ? "on" : "off");
  } catch {
    // storage is switched off: the choice lasts until the page is left
  }
}
