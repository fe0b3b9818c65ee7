/** The filters: where photos lie, what shape they have, and when they were taken. */

import { counted, make } from "./elements.js";
import { folderTree } from "./folders.js";
import { NO_FILTERS, filterCount } from "./question.js";

const INDENT = "\u2003"; // an em space: options cannot be indented otherwise

export class Filters {
  #form;
  #toggle;
  #filters = NO_FILTERS;

  /**
   * @param {HTMLFormElement} form with a control for each filter, by its name.
   * @param {HTMLButtonElement} toggle opens the form on small screens.
   * @param {(filters: object) => void} changed
   */
  constructor(form, toggle, changed) {
    this.#form = form;
    this.#toggle = toggle;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => changed(this.#read()));
    form.querySelector(".filters-clear").addEventListener("click", () => changed(NO_FILTERS));
    toggle.addEventListener("click", () => {
      const open = form.classList.toggle("open");
      toggle.ariaExpanded = String(open);
    });
  }

  /** Offer the gallery's folders. */
  offer(folders) {
    const tree = folderTree(folders);
    const total = folders.reduce((sum, { photos }) => sum + photos, 0);
    const options = tree.map(({ folder, name, depth, photos }) =>
      make("option", {
        value: folder,
        textContent: `${INDENT.repeat(depth)}${name} (${photos.toLocaleString("en")})`,
      }),
    );
    const all = make("option", { value: "", textContent: `All (${counted(total, "photo")})` });
    this.#form.elements.folder.replaceChildren(all, ...options);
    this.show(this.#filters);
  }

  /** Show which filters are set. */
  show(filters) {
    this.#filters = filters;
    const { folder } = this.#form.elements;
    const known = [...folder.options].some((option) => option.value === filters.folder);
    if (filters.folder && !known) {
      // From a shared address: it stays in force and in sight, though the gallery lacks it.
      folder.append(make("option", { value: filters.folder, textContent: filters.folder }));
    }
    for (const [name, value] of Object.entries(filters)) this.#form.elements[name].value = value;
    const count = filterCount({ filters });
    this.#form.querySelector(".filters-clear").hidden = !count;
    this.#toggle.querySelector("span").textContent = count ? `Filters (${count})` : "Filters";
  }

  #read() {
    const { folder, orientation, after, before } = this.#form.elements;
    return {
      folder: folder.value,
      orientation: orientation.value,
      after: after.value,
      before: before.value,
    };
  }
}
