/* Enrol photographs of one person. */

import * as api from "./api.js";
import { $, make } from "./dom.js";
import { refreshGalleries } from "./galleries.js";
import { problemCard, working } from "./problem.js";
import { reason } from "./words.js";

export function setUpEnrol() {
  $("enrol-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (complete()) enrol();
  });
  $("make-gallery").addEventListener("click", makeGallery);
}

function complete() {
  $("subject").value = $("subject").value.trim();
  return $("enrol-form").reportValidity();
}

async function makeGallery() {
  const name = $("gallery-name").value.trim();
  try {
    await api.createGallery({ name, keep_photographs: $("keep").checked });
    await refreshGalleries(name);
    $("new-gallery").open = false;
    $("gallery-name").value = "";
    $("outcomes").replaceChildren(make("p", { class: "hint" }, `Gallery “${name}” is there.`));
  } catch (problem) {
    $("outcomes").replaceChildren(problemCard(problem));
  }
}

async function enrol() {
  const files = [...$("photographs").files];
  const [gallery, subject] = [$("enrol-gallery").value, $("subject").value];
  $("outcomes").replaceChildren(working("Enrolling…"));
  try {
    report(await api.enrol(gallery, subject, { images: files, strict: $("strict").checked }), files);
    $("photographs").value = "";
    await refreshGalleries(gallery);
  } catch (problem) {
    if (problem.document?.results) report(problem.document, files);
    else $("outcomes").replaceChildren(problemCard(problem));
  }
}

function report({ subject, enrolled, results }, files) {
  const head = `${enrolled} of ${results.length} ${results.length === 1 ? "photograph" : "photographs"} enrolled`;
  const rows = results.map((result, i) => outcome(result, files[i]));
  $("outcomes").replaceChildren(
    make("article", { class: "card" }, make("h2", {}, `${subject}: ${head}`), make("ul", { class: "outcomes" }, ...rows)),
  );
}

function outcome(result, file) {
  const image = make("img", { alt: "" });
  image.src = URL.createObjectURL(file);
  image.onload = () => URL.revokeObjectURL(image.src);
  const enrolled = result.status === "enrolled";
  const verdict = enrolled ? "Enrolled" : `Refused: ${reason(result.code)}`;
  const text = make("div", {}, make("strong", {}, verdict), make("span", {}, enrolled ? file.name : result.detail));
  return make("li", { class: result.status }, image, text);
}
