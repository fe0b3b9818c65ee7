/**
 * The results. A photo that stays keeps its element, so that nothing is loaded twice and nothing
 * flickers; every box has the same shape before its thumbnail is there, so that nothing jumps.
 */

import { fillCard, makeCard } from "./card.js";

const WAYS = { ArrowLeft: -1, ArrowRight: 1 };

export class Grid {
  #list;
  #told;
  #cards = new Map();
  #hits = [];

  /**
   * @param {HTMLElement} list
   * @param {object} told what to call: `opened(hit)`, `more(hit)`, `not(hit)`.
   */
  constructor(list, told) {
    this.#list = list;
    this.#told = told;
    list.addEventListener("click", (event) => this.#click(event));
    list.addEventListener("keydown", (event) => this.#step(event));
  }

  get hits() {
    return this.#hits;
  }

  /** Show hits, best first. */
  show(hits) {
    this.#hits = hits;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    const wanted = new Set(hits.map((hit) => hit.id));
    for (const [id, card] of this.#cards) {
      if (wanted.has(id)) continue;
      card.remove();
      this.#cards.delete(id);
    }
    hits.forEach((hit, place) => this.#put(hit, place));
    // Moving an element takes the focus from it.
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  }

  /** Put the focus on a photo's card, if it is among the results. */
  focus(id) {
    this.#cards.get(id)?.querySelector(".card-photo").focus();
  }

  #put(hit, place) {
    let card = this.#cards.get(hit.id);
    if (!card) {
      card = makeCard(hit);
      this.#cards.set(hit.id, card);
    }
    fillCard(card, hit);
    const there = this.#list.children[place];
    if (there !== card) this.#list.insertBefore(card, there ?? null);
  }

  #click(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const id = Number(button.closest(".card").dataset.id);
    const hit = this.#hits.find((one) => one.id === id);
    if (button.classList.contains("more")) this.#told.more(hit);
    else if (button.classList.contains("not")) this.#told.not(hit);
    else this.#told.opened(hit);
  }

  #step(event) {
    const photo = event.target.closest(".card-photo");
    if (!photo || event.ctrlKey || event.altKey || event.metaKey) return;
    const photos = [...this.#list.querySelectorAll(".card-photo")];
    const rows = { ArrowUp: -this.#columns(), ArrowDown: this.#columns() };
    const ends = { Home: -photos.length, End: photos.length };
    const way = { ...WAYS, ...rows, ...ends }[event.key];
    if (!way) return;
    event.preventDefault();
    const to = photos.indexOf(photo) + way;
    if (event.key in rows && !photos[to]) return;
    photos[Math.min(photos.length - 1, Math.max(0, to))].focus();
  }

  #columns() {
    const cards = [...this.#list.children];
    const inFirstRow = cards.findIndex((card) => card.offsetTop !== cards[0].offsetTop);
    return inFirstRow < 0 ? cards.length : inFirstRow;
  }
}
