/**
 * What it is: names that the drawing is likely of, each as a chip that can be settled or refused; a
 * word; and the drawing alone.
 *
 * Names come with every answer, also while one draws. A name keeps its place for as long as it is
 * among them, one that was settled or refused for as long as it is so, and nothing moves while the
 * pointer is over the chips or the keyboard among them: somebody is about to press one.
 */

import { namesLike } from "./api.js";
import { make } from "./elements.js";

/** Milliseconds that typing must rest before names are looked up. */
const REST = 120;

export class Names {
  #root;
  #list;
  #form;
  #word;
  #off;
  #told;
  #chips = new Map();
  #order = [];
  #likely = [];
  #question = { named: [], notNamed: [], alone: false };
  #pointed = false;
  #looking = null;

  /**
   * @param {HTMLElement} root with a list for the chips, and a form.
   * @param {object} told what to call: `settled(name)`, `refused(name)`, `released(name)`,
   *   `alone(isAlone)`, `unknown(text)` for a word that is no name.
   */
  constructor(root, told) {
    this.#root = root;
    this.#told = told;
    this.#list = root.querySelector("ul");
    this.#form = root.querySelector("form");
    this.#word = root.querySelector("input");
    this.#off = root.querySelector(".names-off");
    this.#list.addEventListener("pointerenter", () => (this.#pointed = true));
    this.#list.addEventListener("pointerleave", () => {
      this.#pointed = false;
      this.#arrange();
    });
    this.#list.addEventListener("focusout", () => requestAnimationFrame(() => this.#arrange()));
    this.#off.addEventListener("click", () => told.alone(!this.#question.alone));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#settleWord();
    });
    this.#word.addEventListener("input", ({ inputType }) => {
      if (inputType === "insertReplacementText") this.#settleWord(); // chosen from the list
      else this.#look();
    });
  }

  /** Ask the server whether it knows names, and offer the first. */
  async ask() {
    const found = await this.#ask("");
    if (found) this.#root.hidden = !found.known;
  }

  /** Take the names of an answer. */
  learn(names) {
    this.#likely = names.map(({ name }) => name);
    this.#arrange();
  }

  /** Show what is settled and refused. */
  show(question) {
    this.#question = question;
    this.#off.ariaPressed = String(question.alone);
    this.#arrange();
  }

  #arrange() {
    const { named, notNamed } = this.#question;
    const wanted = new Set([...named, ...notNamed]);
    const isHeld = this.#pointed || this.#list.querySelector(":focus-visible") !== null;
    for (const name of isHeld ? this.#order : this.#likely) wanted.add(name);
    const coming = [...wanted].filter((name) => !this.#order.includes(name));
    const stayed = this.#order.map((name) => (wanted.has(name) ? name : coming.shift()));
    this.#order = [...stayed.filter((name) => name !== undefined), ...coming];
    this.#paint();
  }

  #paint() {
    for (const [name, { chip }] of this.#chips) {
      if (this.#order.includes(name)) continue;
      chip.remove();
      this.#chips.delete(name);
    }
    this.#order.forEach((name, place) => {
      const { chip, yes, no } = this.#chipOf(name);
      const isRefused = this.#question.notNamed.includes(name);
      yes.ariaPressed = String(this.#question.named.includes(name));
      no.ariaPressed = String(isRefused);
      chip.classList.toggle("refused", isRefused);
      // Only what is out of place is moved: a chip that is moved loses the focus.
      const there = this.#list.children[place];
      if (there !== chip) this.#list.insertBefore(chip, there ?? null);
    });
    if (this.#order.length) this.#root.hidden = false;
  }

  #chipOf(name) {
    if (!this.#chips.has(name)) this.#chips.set(name, this.#made(name));
    return this.#chips.get(name);
  }

  #made(name) {
    const yes = make("button", { type: "button", className: "name-yes", title: name }, [
      make("span", { textContent: name }),
    ]);
    const no = make("button", { type: "button", className: "name-no", ariaLabel: `Not ${name}` });
    no.append(make.icon("#icon-close"));
    const press = (button, act) =>
      button.addEventListener("click", () => {
        if (button.ariaPressed === "true") this.#told.released(name);
        else act(name);
      });
    press(yes, this.#told.settled);
    press(no, this.#told.refused);
    return { chip: make("li", { className: "name-chip" }, [yes, no]), yes, no };
  }

  #look() {
    clearTimeout(this.#looking);
    this.#looking = setTimeout(() => this.#ask(this.#word.value), REST);
  }

  async #settleWord() {
    const word = this.#word.value.trim();
    if (!word) return;
    const answer = await this.#ask(word);
    if (!answer) return;
    if (answer.found !== null) {
      this.#word.value = "";
      this.#told.settled(answer.found);
      return;
    }
    const near = answer.names.slice(0, 4).map(({ name }) => name);
    const hint = near.length ? `Did you mean ${near.join(", ")}?` : "Draw it instead.";
    this.#told.unknown(`\u201c${word}\u201d is no name of one thing that is known. ${hint}`);
  }

  /** What a word means, whose completions are offered; null where there is no answer. */
  async #ask(word) {
    try {
      const answer = await namesLike(word);
      const options = answer.names.map(({ name, synonyms }) =>
        make("option", { value: name, label: [name, ...synonyms].join(", ") }),
      );
      this.#root.querySelector("datalist").replaceChildren(...options);
      return answer;
    } catch {
      return null; // searches tell what is wrong with the server
    }
  }
}
