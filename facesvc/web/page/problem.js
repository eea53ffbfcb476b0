/* How an error looks. */

import { advice } from "./api.js";
import { make } from "./dom.js";

const SOURCES = { probe: "Probe: ", reference: "Reference: ", image: "" };

/** A card for a Problem; the advice for its code follows when it has arrived. */
export function problemCard(problem) {
  const hint = make("p", { class: "hint" });
  if (problem.code && problem.code !== "unreachable") advice(problem.code).then((text) => (hint.textContent = text));
  const title = (SOURCES[problem.source] ?? "") + (problem.title ?? "Something went wrong");
  const card = make("div", { class: "problem" }, make("h2", {}, title), make("p", {}, problem.message));
  card.append(hint);
  return card;
}

export const working = (text) => make("p", { class: "working" }, text);
