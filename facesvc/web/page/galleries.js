/* The gallery selectors, which always show the same list. */

import { galleries } from "./api.js";
import { $, make } from "./dom.js";

const SELECTORS = ["identify-gallery", "enrol-gallery"];

const option = ({ name, subjects }) =>
  make("option", { value: name }, `${name} (${subjects === 1 ? "1 person" : `${subjects} people`})`);

/** Reads the galleries anew; ``chosen`` is selected where given, else what was selected stays. */
export async function refreshGalleries(chosen) {
  const found = await galleries();
  for (const id of SELECTORS) {
    const wanted = chosen ?? $(id).value;
    $(id).replaceChildren(...found.map(option));
    if (found.some(({ name }) => name === wanted)) $(id).value = wanted;
  }
}
