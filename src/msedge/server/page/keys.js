/** Keys that work anywhere on the page, but where something is being typed or chosen. */

const TYPED = "input, select, textarea, [contenteditable]";

/**
 * Listen for keys.
 *
 * @param {object} acts what to call: `undo`, `redo`, `erase` (the rubber on or off), `remove` (what
 *   is pointed at), `clear`, `help`.
 */
export function listenForKeys(acts) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.target.closest?.(TYPED)) return;
    if (document.querySelector("dialog[open]")) return;
    const act = acts[meaning(event)];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function meaning({ key, ctrlKey, metaKey, shiftKey, altKey, target }) {
  if (altKey) return null;
  const letter = key.toLowerCase();
  if (ctrlKey || metaKey) {
    if (letter === "z") return shiftKey ? "redo" : "undo";
    return letter === "y" ? "redo" : null;
  }
  if (key === "Delete" || (key === "Backspace" && target.id === "sheet")) {
    return shiftKey ? "clear" : "remove";
  }
  if (key === "?") return "help";
  return letter === "e" ? "erase" : null;
}
