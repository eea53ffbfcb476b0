/* The distance on its scale, with the threshold marked. */

import { make } from "./dom.js";
import { distance as shown } from "./words.js";

/** Positions are set through the style object, which a strict content policy allows, unlike style attributes. */
function at(element, share, side = "left") {
  element.style[side] = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return element;
}

export function scale(value, threshold, largest, kind) {
  const zone = at(make("div", { class: "zone" }), threshold / largest, "width");
  const mark = at(make("div", { class: "threshold" }, make("span", {}, `threshold ${threshold.toFixed(2)}`)), threshold / largest);
  const dot = at(make("div", { class: `dot ${kind}` }, make("span", {}, shown(value))), value / largest);
  const ends = make("div", { class: "ends" }, make("span", {}, "0"), make("span", {}, largest.toFixed(0)));
  const label = `Distance ${shown(value)} on a scale from 0 to ${largest.toFixed(0)}, threshold ${threshold.toFixed(2)}`;
  return make("div", { class: "scale", role: "img", "aria-label": label }, make("div", { class: "track" }, zone, mark, dot), ends);
}
