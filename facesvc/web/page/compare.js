/* Compare two photographs. */

import * as api from "./api.js";
import { $, make } from "./dom.js";
import { problemCard, working } from "./problem.js";
import { scale } from "./scale.js";
import * as words from "./words.js";

const VERDICTS = {
  match: ["Same person", "The faces are nearer to each other than the threshold."],
  no_match: ["Different people", "The faces are as far apart as the threshold or farther."],
  inconclusive: ["Inconclusive", "A photograph is not good enough to decide by."],
};

let asking = new AbortController();

export function setUpCompare(model) {
  for (const photo of [$("probe"), $("reference")]) photo.addEventListener("photo", () => compare(model));
  for (const option of [$("rate"), $("choice")]) option.addEventListener("change", () => compare(model));
  $("clear").addEventListener("click", startOver);
  offerRates(model.calibration);
}

function offerRates(calibration) {
  if (!calibration) return;
  for (const fmr of [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]) {
    if (fmr >= calibration.smallest_fmr) $("rate").append(make("option", { value: fmr }, `at most ${words.rate(fmr)}`));
  }
}

function startOver() {
  asking.abort();
  $("probe").reset();
  $("reference").reset();
  $("verdict").replaceChildren();
}

async function compare(model) {
  const [probe, reference] = [$("probe"), $("reference")];
  asking.abort();
  $("verdict").replaceChildren();
  if (!probe.file || !reference.file) return;
  asking = new AbortController();
  probe.clear();
  reference.clear();
  $("verdict").replaceChildren(working("Comparing…"));
  const fields = { probe: probe.file, reference: reference.file, face: $("choice").value, target_fmr: $("rate").value };
  try {
    answer(await api.verify(fields, asking.signal), model);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    $("verdict").replaceChildren(problemCard(problem));
    if (["probe", "reference"].includes(problem.source)) $(problem.source).note(problem.title, "bad");
  }
}

function answer(found, model) {
  for (const side of ["probe", "reference"]) {
    $(side).draw([found[side]], [{ kind: found.decision }]);
    $(side).noteQuality(found[side], found[side].faces_found);
  }
  const [title, meaning] = VERDICTS[found.decision];
  const head = make("div", { class: "verdict-head" }, make("h2", {}, title), make("p", {}, meaning));
  const drawn = scale(found.distance, found.threshold, model.largest_distance, found.decision);
  $("verdict").replaceChildren(make("article", { class: `verdict ${found.decision}` }, head, drawn, facts(found)));
}

function facts(found) {
  const rows = [
    ["Distance", words.distance(found.distance)],
    ["Threshold", found.threshold.toFixed(3)],
    ["False matches at it", words.rateUpTo(found.fmr_at_threshold, found.fmr_interval)],
    ["Similarity (cosine)", found.similarity.toFixed(3)],
    ["Time", `${Math.round(found.timings_ms.total)} ms`],
  ];
  const list = rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  return make("dl", { class: "facts" }, ...list);
}
