/** How a picture comes in: chosen with the button, pasted, or dropped anywhere on the page. */

import { byId } from "./elements.js";
import { PictureError, keep, pictureIn } from "./pictures.js";

/**
 * Listen for pictures.
 *
 * @param {object} told what to call: `took(key)` with the key of a picture that is kept, or
 *   `failed(text)`.
 */
export function startIntake(told) {
  const take = async (file) => {
    try {
      told.took(await keep(file));
    } catch (error) {
      if (!(error instanceof PictureError)) throw error;
      told.failed(error.message);
    }
  };
  choosing(take);
  document.addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  dropping(take, told.failed);
}

function choosing(take) {
  const input = byId("picture-file");
  byId("picture").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // so that the same picture can be chosen again
    if (file) take(file);
  });
}

function dropping(take, failed) {
  const veil = byId("drop");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // enter and leave come for every element on the way
  const on = (type, act) =>
    document.addEventListener(type, (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      act(event);
    });
  on("dragover", () => {});
  on("dragenter", () => {
    depth += 1;
    veil.hidden = false;
  });
  on("dragleave", () => {
    depth -= 1;
    veil.hidden = depth > 0 ? veil.hidden : true;
  });
  on("drop", (event) => {
    depth = 0;
    veil.hidden = true;
    const file = pictureIn(event.dataTransfer);
    if (file) take(file);
    else failed("That is not a picture.");
  });
}
