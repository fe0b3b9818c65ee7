/** What happens when the server falls silent: a banner, and asking again, ever less often. */

import { isAlive } from "./api.js";

const PAUSES = [1, 2, 4, 8, 15]; // seconds; the last repeats

export class Connection {
  #banner;
  #text;
  #back;
  #tries = 0;
  #left = 0;
  #timer = null;
  #lost = false;

  /**
   * @param {HTMLElement} banner with a `.banner-text` and a button.
   * @param {() => void} back is called when the server answers again.
   */
  constructor(banner, back) {
    this.#banner = banner;
    this.#text = banner.querySelector(".banner-text");
    this.#back = back;
    banner.querySelector("button").addEventListener("click", () => this.#tryNow());
    window.addEventListener("online", () => this.#lost && this.#tryNow());
  }

  /** Say that the server is silent, and try until it is not. */
  lost() {
    if (this.#lost) return;
    this.#lost = true;
    this.#tries = 0;
    this.#banner.hidden = false;
    this.#wait();
  }

  /** Say that the server has answered. */
  found() {
    if (!this.#lost) return;
    clearTimeout(this.#timer);
    this.#lost = false;
    this.#banner.hidden = true;
    this.#back();
  }

  #wait() {
    this.#left = PAUSES[Math.min(this.#tries, PAUSES.length - 1)];
    this.#tries += 1;
    this.#count();
  }

  #count() {
    if (this.#left <= 0) {
      this.#tryNow();
      return;
    }
    this.#text.textContent = `No connection to msedge. Trying again in ${this.#left} s.`;
    this.#left -= 1;
    this.#timer = setTimeout(() => this.#count(), 1000);
  }

  async #tryNow() {
    clearTimeout(this.#timer);
    this.#text.textContent = "No connection to msedge. Trying now.";
    if (await isAlive()) this.found();
    else if (this.#lost) this.#wait();
  }
}
