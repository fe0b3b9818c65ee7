/** Elements by code, since the page's policy allows no markup with styles in it; and words. */

const SVG = "http://www.w3.org/2000/svg";

/** Make an element with properties and children. */
export function make(tag, properties = {}, children = []) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Make an icon of the page's sheet. */
make.icon = (href) => {
  const icon = make.svg("svg", { class: "icon", "aria-hidden": "true" });
  icon.append(make.svg("use", { href }));
  return icon;
};

/** Make an element of a drawing, with attributes. */
make.svg = (tag, attributes) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

/** Find the one element with an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** `1,234 photos`, `1 photo`. */
export function counted(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

/** `2 copies`, `1 copy`. */
export function copiesText(number) {
  return number === 1 ? "1 copy" : `${number.toLocaleString("en")} copies`;
}

/** A cosine, or what is left of one, as it is shown. */
export function scoreText(score) {
  return score.toFixed(2).replace("-", "\u2212");
}
