/** One photo of the results: its thumbnail, rank and score, and what can be done with it. */

import { thumbnailUrl } from "./api.js";
import { copiesText, make, scoreText } from "./elements.js";

/**
 * Make the card of a hit.
 *
 * @param {object} hit of the server's answer.
 * @returns {HTMLElement} a list item; `fillCard` tells it its rank.
 */
export function makeCard(hit) {
  const image = make("img", {
    src: thumbnailUrl(hit.id),
    alt: "",
    loading: "lazy",
    decoding: "async",
    width: 320,
    height: 320,
  });
  image.addEventListener("error", () => card.classList.add("broken"));
  const photo = make("button", { type: "button", className: "card-photo" }, [
    image,
    make.svg("svg", {
      class: "where",
      viewBox: `0 0 ${hit.width} ${hit.height}`,
      preserveAspectRatio: "xMidYMid slice",
      "aria-hidden": "true",
    }),
    make("span", { className: "card-broken", textContent: "This photo cannot be shown" }),
    make("span", { className: "rank" }),
    make("span", { className: "copies" }),
  ]);
  const fill = make("span", { className: "bar-fill" });
  const score = make("p", { className: "score", ariaHidden: "true" }, [
    make("span", { textContent: "score" }),
    make("span", { className: "bar" }, [fill]),
    make("span", { className: "score-number" }),
  ]);
  const card = make("li", { className: "card" }, [
    photo,
    score,
    make("div", { className: "card-actions" }, [
      action("more", "#icon-more", "More", " like this"),
      action("not", "#icon-not", "Not this", ""),
    ]),
  ]);
  card.dataset.id = hit.id;
  return card;
}

/** Write a hit's rank and score into its card. */
export function fillCard(card, hit) {
  const score = scoreText(hit.score);
  const copies = hit.copies.length;
  card.querySelector(".rank").textContent = hit.rank;
  card.querySelector(".copies").textContent = copies ? `+${copies}` : "";
  card.querySelector(".score-number").textContent = score;
  const share = Math.min(1, Math.max(0, hit.score));
  card.querySelector(".bar-fill").style.width = `${100 * share}%`;
  const also = copies ? `, ${copiesText(copies)}` : "";
  card.querySelector(".card-photo").ariaLabel =
    `Rank ${hit.rank}: ${hit.name}, score ${score}${also}. Open large`;
  card.querySelector(".more").ariaLabel = `More like this: ${hit.name}`;
  card.querySelector(".not").ariaLabel = `Not this: ${hit.name}`;
}

function action(name, icon, word, rest) {
  return make("button", { type: "button", className: `quiet ${name}` }, [
    make.icon(icon),
    make("span", { textContent: word }, [
      make("span", { className: "rest", textContent: rest }),
    ]),
  ]);
}
