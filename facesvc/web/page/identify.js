/* Identify the faces of a photograph in a gallery. */

import * as api from "./api.js";
import { $, make } from "./dom.js";
import { problemCard, working } from "./problem.js";
import * as words from "./words.js";

const THUMBNAIL = 96;
let asking = new AbortController();

export function setUpIdentify() {
  $("crowd").addEventListener("photo", identify);
  for (const option of [$("identify-gallery"), $("top-k")]) option.addEventListener("change", identify);
}

async function identify() {
  const photo = $("crowd");
  asking.abort();
  if (!photo.file) return;
  asking = new AbortController();
  photo.clear();
  $("people").replaceChildren(working("Looking…"));
  const fields = { image: photo.file, gallery: $("identify-gallery").value, top_k: $("top-k").value };
  try {
    await answer(await api.identify(fields, asking.signal), photo);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    $("people").replaceChildren(problemCard(problem));
  }
}

async function answer(found, photo) {
  await photo.draw(found.faces, found.faces.map((face, i) => ({ text: `${i + 1} ${title(face)}`, kind: face.decision })));
  photo.note(`${words.faces(found.faces_found)} in ${Math.round(found.timings_ms.total)} ms`);
  const rate = words.rate(found.fmr_at_threshold);
  const stranger = words.rate(found.fpir_at_threshold);
  const rule =
    `Match below ${found.threshold.toFixed(2)}; false matches at it, for each comparison: ${rate}; ` +
    `a stranger matching any of the ${found.references} references: ${stranger}.`;
  const cards = found.faces.map((face, i) => faceCard(face, i, found.threshold, photo.image));
  $("people").replaceChildren(...cards, make("p", { class: "hint" }, rule));
}

const called = (candidate) => candidate.display_name ?? candidate.subject;

function title(face) {
  if (face.decision === "match") return called(face.candidates[0]);
  return face.decision === "unknown" ? "Unknown" : "Inconclusive";
}

function faceCard(face, i, threshold, image) {
  const reasons = face.quality.reasons.map(words.reason).join(", ");
  const list = make("ol", { class: "candidates" }, ...face.candidates.map((one) => candidateRow(one, threshold)));
  const text = make(
    "div",
    {},
    make("h2", {}, make("span", { class: "number" }, String(i + 1)), title(face)),
    reasons ? make("p", { class: "hint" }, `Not good enough to decide by: ${reasons}.`) : null,
    face.candidates.length ? list : make("p", { class: "hint" }, "The gallery holds nobody to compare with."),
  );
  return make("article", { class: `card face ${face.decision}` }, thumbnail(face.box, image), text);
}

/** The bar is full at distance 0 and half at the threshold. */
function candidateRow(candidate, threshold) {
  const bar = make("span", { class: "fill" });
  bar.style.width = `${Math.max(100 - (50 * candidate.distance) / threshold, 2)}%`;
  return make(
    "li",
    { class: candidate.match ? "match" : "" },
    make("span", { class: "who" }, called(candidate)),
    make("span", { class: "nearness", "aria-hidden": "true" }, bar),
    make("span", { class: "distance" }, words.distance(candidate.distance)),
  );
}

function thumbnail([x1, y1, x2, y2], image) {
  const canvas = make("canvas", { width: THUMBNAIL, height: THUMBNAIL, "aria-hidden": "true" });
  const side = 1.3 * Math.max(x2 - x1, y2 - y1);
  const [left, top] = [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2];
  if (image.naturalWidth) canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, THUMBNAIL, THUMBNAIL);
  return canvas;
}
