/** The column of results: the grid, and whatever is to be said of it. */

import { byId, counted } from "./elements.js";

/** How long, in milliseconds, results must stand before they are read out. */
const SETTLED = 700;

export class Results {
  #grid;
  #reading = null;
  #answer = null;
  #passing = false;

  /** @param {import("./grid.js").Grid} grid */
  constructor(grid) {
    this.#grid = grid;
  }

  /** The last answer, as it is downloaded; null when none is shown. */
  get answer() {
    return this.#answer;
  }

  /**
   * Show an answer.
   *
   * @param {object} answer of the server.
   * @param {boolean} mayHaveMore whether as many came as were asked for.
   */
  show(answer, mayHaveMore) {
    const { hits, searched, took_ms: took } = answer;
    this.#answer = answer;
    this.#grid.show(hits);
    this.#stand(hits.length ? "found" : "none");
    const of = searched === hits.length ? "" : ` of ${searched.toLocaleString("en")}`;
    byId("count").textContent = hits.length ? `The closest ${hits.length}${of}` : "";
    byId("took").textContent = hits.length ? `${Math.max(1, Math.round(took))} ms` : "";
    byId("show-more").hidden = !mayHaveMore;
    this.#readOut(hits);
  }

  /**
   * Show that nothing is asked.
   *
   * @param {"start"|"empty"|"unlikes"} why the page has just been opened, the gallery is empty, or
   *   there are only photos that it should not be.
   */
  clear(why) {
    this.#answer = null;
    clearTimeout(this.#reading);
    this.#grid.show([]);
    byId("count").textContent = "";
    byId("took").textContent = "";
    byId("show-more").hidden = true;
    this.#stand(why);
  }

  /** Mark whether the photos are about to be others. */
  busy(isBusy) {
    byId("grid").ariaBusy = String(isBusy);
  }

  /** Say, quietly, that the answer takes its time. */
  slow(isSlow) {
    byId("slow").hidden = !isSlow;
    if (isSlow) this.say("Still looking");
  }

  /** Say why there is no answer, until there is one; the photos shown are of an older question. */
  refuse(text) {
    this.warn(text);
    this.#passing = true;
    byId("grid").classList.add("stale");
  }

  /** Say that something cannot be done, until something else is. */
  warn(text) {
    this.#passing = false;
    byId("error-text").textContent = text;
    byId("error").hidden = false;
  }

  /** Take back what was said. */
  forgive() {
    byId("error").hidden = true;
  }

  /** Tell those who listen rather than look. */
  say(text) {
    byId("said").textContent = text;
  }

  #stand(state) {
    byId("results").dataset.state = state;
    if (this.#passing) this.forgive();
    byId("grid").classList.remove("stale");
    byId("download").disabled = state !== "found";
  }

  #readOut(hits) {
    clearTimeout(this.#reading);
    const best = hits[0];
    const text = best
      ? `${counted(hits.length, "photo")} found. Closest: ${best.name}`
      : "No photo matches the filters";
    this.#reading = setTimeout(() => this.say(text), SETTLED);
  }
}

/** Save an answer, with its question, as a file. */
export function download(answer, question) {
  const text = JSON.stringify({ question, ...answer }, null, 2);
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = Object.assign(document.createElement("a"), { href: url });
  link.download = "msedge-results.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** What a gallery says of itself in the page's head. */
export function galleryText({ name, photos }) {
  return `${counted(photos, "photo")} in ${name}`;
}

