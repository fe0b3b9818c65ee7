/**
 * One photo, large, with all that is known of it.
 *
 * Opening it is a step of the browser's history, so that the back button closes it, as people
 * expect of a telephone.
 */

import { photoUrl, thumbnailUrl } from "./api.js";
import { copiesText, make, scoreText } from "./elements.js";
import { outline, placeText } from "./where.js";

export class PhotoDialog {
  #dialog;
  #grid;
  #told;
  #hit = null;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {import("./grid.js").Grid} grid whose photos are leafed through.
   * @param {object} told what to call: `more(hit)`, `not(hit)`, and `where(hit)`, which gives the box
   *   in a photo: null while it is not known, undefined where none is to be shown.
   */
  constructor(dialog, grid, told) {
    this.#dialog = dialog;
    this.#grid = grid;
    this.#told = told;
    const on = (name, act) => this.#part(name).addEventListener("click", act);
    on("close", () => this.#leave());
    on("previous", () => this.#leaf(-1));
    on("next", () => this.#leaf(1));
    on("more", () => this.#choose("more"));
    on("not", () => this.#choose("not"));
    dialog.addEventListener("keydown", (event) => this.#press(event));
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#leave();
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) this.#leave();
    });
    this.#part("large").addEventListener("load", () => dialog.classList.add("loaded"));
    this.#part("large").addEventListener("error", () => dialog.classList.add("broken"));
  }

  /** Show a photo of the results. */
  open(hit) {
    if (!this.#dialog.open) {
      history.pushState({ photo: hit.id }, "");
      this.#dialog.showModal();
    }
    this.#fill(hit);
    this.#part("close").focus();
  }

  /** Show where it is, as far as that is known by now. */
  locate() {
    if (!this.#hit || !this.#dialog.open) return;
    const box = this.#told.where(this.#hit);
    outline(this.#part("where"), box ?? null);
    const [term, place] = this.#dialog.querySelectorAll(".fact-where");
    term.hidden = place.hidden = box === undefined;
    place.textContent = box ? placeText(box) : "not known";
  }

  /** Follow the browser's history: close, unless it stands on a photo. */
  follow(state) {
    const hit = this.#grid.hits.find((one) => one.id === state?.photo);
    if (hit && !this.#dialog.open) {
      this.#dialog.showModal();
      this.#fill(hit);
    } else if (!hit && this.#dialog.open) {
      this.#close();
    }
  }

  #leave() {
    if (history.state?.photo === undefined) this.#close();
    else history.back(); // which comes back to `follow`
  }

  #close() {
    this.#dialog.close();
    this.#part("large").removeAttribute("src");
    if (this.#hit) this.#grid.focus(this.#hit.id);
  }

  #choose(way) {
    const hit = this.#hit;
    this.#dialog.close();
    // The step that is made now takes the place of the photo's.
    this.#told[way](hit);
  }

  #leaf(way) {
    const hits = this.#grid.hits;
    const hit = hits[hits.findIndex((one) => one.id === this.#hit.id) + way];
    if (!hit) return;
    history.replaceState({ photo: hit.id }, "");
    this.#fill(hit);
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") this.#leaf(-1);
    else if (event.key === "ArrowRight") this.#leaf(1);
    else return;
    event.preventDefault();
  }

  #fill(hit) {
    this.#hit = hit;
    this.#dialog.classList.remove("loaded", "broken");
    const large = this.#part("large");
    large.alt = hit.name;
    large.src = photoUrl(hit.id);
    this.#part("preview").src = thumbnailUrl(hit.id);
    this.#part("original").href = photoUrl(hit.id);
    this.#part("name").textContent = hit.name;
    this.#part("where").setAttribute("viewBox", `0 0 ${hit.width} ${hit.height}`);
    this.#facts(hit);
    this.locate();
    const hits = this.#grid.hits;
    const place = hits.findIndex((one) => one.id === hit.id);
    this.#part("previous").disabled = place <= 0;
    this.#part("next").disabled = place < 0 || place === hits.length - 1;
  }

  #facts(hit) {
    const facts = [
      ["Rank", String(hit.rank)],
      ["Score", scoreText(hit.score)],
      ["Similarity", scoreText(hit.similarity)],
      ["Folder", hit.folder],
      ["Taken", dateText(hit.taken)],
      ["Size", `${hit.width} × ${hit.height} pixels`],
    ];
    const list = this.#part("facts");
    list.replaceChildren(
      ...facts.flatMap(([term, value]) => fact(term, value)),
      ...fact("Where", "").map((part) => Object.assign(part, { className: "fact-where" })),
    );
    if (!hit.copies.length) return;
    list.append(
      make("dt", { textContent: "Also" }),
      make("dd", {}, [`${copiesText(hit.copies.length)} `, ...hit.copies.map(copyLink)]),
    );
  }

  #part(name) {
    return this.#dialog.querySelector(`.photo-${name}`);
  }
}

function fact(term, value) {
  return [make("dt", { textContent: term }), make("dd", { textContent: value })];
}

function copyLink(id, place) {
  const label = `Copy ${place + 1}, opens in a new tab`;
  const link = make("a", { href: photoUrl(id), target: "_blank", rel: "noopener" }, [
    make("img", { src: thumbnailUrl(id), alt: label, width: 48, height: 48 }),
  ]);
  link.className = "copy";
  return link;
}

function dateText(taken) {
  const date = new Date(taken);
  return Number.isNaN(date.getTime())
    ? "unknown"
    : date.toLocaleDateString(undefined, { dateStyle: "long", timeZone: "UTC" });
}
