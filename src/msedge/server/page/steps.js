/** Undo and redo: the questions that were asked, one after the other, without their filters. */

export class Steps {
  #sameAs;
  #past = [];
  #future = [];

  /**
   * @param {object} present where to begin.
   * @param {(a: object, b: object) => boolean} sameAs whether two steps are one.
   */
  constructor(present, sameAs) {
    this.present = present;
    this.#sameAs = sameAs;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** Go to a new step; what was undone is forgotten. */
  go(step) {
    if (this.#sameAs(step, this.present)) return;
    this.#past.push(this.present);
    this.#future = [];
    this.present = step;
  }

  /** Go to a step that the browser's back or forward button leads to. */
  visit(step) {
    if (this.#past.length && this.#sameAs(step, this.#past.at(-1))) this.undo();
    else if (this.#future.length && this.#sameAs(step, this.#future.at(-1))) this.redo();
    else this.go(step);
  }

  undo() {
    if (!this.canUndo) return;
    this.#future.push(this.present);
    this.present = this.#past.pop();
  }

  redo() {
    if (!this.canRedo) return;
    this.#past.push(this.present);
    this.present = this.#future.pop();
  }
}
