/** What is asked beside the drawing, each thing as a chip that can be taken away. */

import { thumbnailUrl } from "./api.js";
import { make } from "./elements.js";

const KINDS = {
  likes: { className: "chip like", word: "Like this", icon: "#icon-more" },
  unlikes: { className: "chip unlike", word: "Not this", icon: "#icon-not" },
};

export class Chips {
  #list;
  #told;
  #names = new Map();

  /**
   * @param {HTMLElement} list
   * @param {object} told what to call: `withoutPicture()`, `withoutPhoto(id)`.
   */
  constructor(list, told) {
    this.#list = list;
    this.#told = told;
  }

  /** Learn what photos are called, to name their chips. */
  learn(hits) {
    for (const { id, name } of hits) this.#names.set(id, name);
  }

  /**
   * Show the chips of a question.
   *
   * @param {object} question
   * @param {{url: string, name: string}|null} picture the picture of the question, if there is one.
   */
  show(question, picture) {
    const chips = [];
    if (picture) chips.push(this.#picture(picture));
    for (const kind of ["likes", "unlikes"]) {
      for (const id of question[kind]) chips.push(this.#photo(kind, id));
    }
    const focusedAt = [...this.#list.children].findIndex((one) => one.contains(document.activeElement));
    this.#list.replaceChildren(...chips);
    this.#list.hidden = !chips.length;
    // Who took a chip away with the keyboard goes on at the next one, or at the drawing.
    if (focusedAt >= 0) {
      const next = chips[Math.min(focusedAt, chips.length - 1)]?.querySelector("button");
      (next ?? document.getElementById("sheet")).focus({ preventScroll: true });
    }
  }

  #photo(kind, id) {
    const { className, word, icon } = KINDS[kind];
    const name = this.#names.get(id) ?? `photo ${id}`;
    return this.#chip(className, thumbnailUrl(id), icon, word, `Remove “${word}: ${name}”`, () =>
      this.#told.withoutPhoto(id),
    );
  }

  #picture({ url, name }) {
    return this.#chip("chip picture", url, "#icon-picture", "Your picture", `Remove ${name}`, () =>
      this.#told.withoutPicture(),
    );
  }

  #chip(className, url, icon, word, removal, remove) {
    const button = make("button", { type: "button", className: "chip-remove", ariaLabel: removal });
    button.append(make.icon("#icon-close"));
    button.addEventListener("click", remove);
    const image = make("img", { alt: "", width: 40, height: 40 });
    if (url) image.src = url;
    image.addEventListener("error", () => image.classList.add("gone"));
    const label = make("span", { className: "chip-word" }, [make.icon(icon), word]);
    return make("li", { className }, [image, label, button]);
  }
}
