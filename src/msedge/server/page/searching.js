/**
 * When to ask, and which answer counts.
 *
 * A question waits until the hand rests, but not for ever while it goes on. While a stroke is being
 * drawn, the answer under way is awaited: asking faster than the server answers would show nothing
 * at all. Any other question aborts the one under way, and an answer counts only while its question
 * is the newest that was sent, so that an old answer can never replace a newer one.
 */

import { NoConnection, search } from "./api.js";

/** Milliseconds that the hand must rest. */
const REST = 150;

/** Milliseconds after which a question is asked though the hand goes on. */
const PATIENCE = 450;

/** Milliseconds after which an answer is called slow. */
const SLOW = 1000;

export class Searching {
  #told;
  #waiting = null;
  #since = 0;
  #underWay = null;
  #afterwards = null;
  #slow = null;
  #again = null;

  /**
   * @param {object} told what to call: `answered(answer, question)`, `refused(error)`, `lost()` when
   *   there is no connection, `busy(isBusy)` when a question begins and ends, `slow(isSlow)`.
   */
  constructor(told) {
    this.#told = told;
  }

  /**
   * Ask soon.
   *
   * @param {() => object} compose makes the body when the time has come.
   * @param {boolean} goesOn whether a stroke is being drawn.
   */
  soon(compose, goesOn = false) {
    if (!goesOn) this.#forget();
    const now = performance.now();
    if (this.#waiting === null) this.#since = now;
    clearTimeout(this.#waiting);
    clearTimeout(this.#again);
    const pause = Math.max(0, Math.min(REST, this.#since + PATIENCE - now));
    this.#told.busy(true);
    this.#waiting = setTimeout(() => {
      this.#waiting = null;
      if (this.#underWay) this.#afterwards = compose;
      else this.#ask(compose);
    }, pause);
  }

  /** Drop whatever is waiting or under way. */
  drop() {
    clearTimeout(this.#waiting);
    clearTimeout(this.#again);
    this.#waiting = null;
    this.#forget();
    this.#rest();
  }

  async #ask(compose) {
    const abort = new AbortController();
    this.#underWay = abort;
    this.#slow ??= setTimeout(() => this.#told.slow(true), SLOW);
    const body = compose();
    let answer;
    try {
      answer = await search(body, abort.signal);
    } catch (error) {
      if (this.#underWay !== abort) return;
      this.#afterwards = null;
      this.#rest();
      this.#refuse(error, compose);
      return;
    }
    if (this.#underWay !== abort) return;
    this.#rest();
    this.#told.answered(answer, body);
    this.#goOn();
  }

  #refuse(error, compose) {
    if (error instanceof NoConnection) {
      this.#told.lost();
      return;
    }
    this.#told.refused(error);
    if (error.wait && this.#waiting === null) {
      this.#again = setTimeout(() => this.#ask(compose), 1000 * error.wait);
    }
  }

  #forget() {
    this.#underWay?.abort();
    this.#underWay = this.#afterwards = null;
  }

  #goOn() {
    const compose = this.#afterwards;
    this.#afterwards = null;
    if (compose && this.#waiting === null) this.#ask(compose);
  }

  #rest() {
    this.#underWay = null;
    clearTimeout(this.#slow);
    this.#slow = null;
    this.#told.slow(false);
    this.#told.busy(this.#waiting !== null || this.#afterwards !== null);
  }
}
