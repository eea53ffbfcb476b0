/* <face-photo>: pick or drop a photograph; preview it; draw faces over it.

   The overlay is an SVG whose viewBox is the photograph in pixels, so boxes and landmarks, which the service gives
   in pixels of the upright photograph, need no arithmetic and follow every change of size. */

import { make, makeSvg } from "./dom.js";
import { reason } from "./words.js";

const HINT = "Drop a photograph, or choose one";

class FacePhoto extends HTMLElement {
  file = null;

  connectedCallback() {
    const { name, hint } = this.dataset;
    this.input = make("input", { type: "file", accept: "image/*,.heic,.heif", "aria-label": `${name}: choose a photograph` });
    this.image = make("img", { alt: "", hidden: true });
    this.overlay = makeSvg("svg", { class: "overlay", "aria-hidden": "true" });
    this.invitation = make("span", { class: "invitation" });
    this.invite(HINT, hint);
    this.notes = make("p", { class: "notes" });
    const frame = make("label", { class: "frame" }, this.input, this.image, this.overlay, this.invitation);
    this.append(make("h2", {}, name), frame, this.notes);
    this.listen(frame);
  }

  listen(frame) {
    this.input.addEventListener("change", () => this.show(this.input.files[0]));
    frame.addEventListener("dragover", (event) => {
      event.preventDefault();
      frame.classList.add("over");
    });
    frame.addEventListener("dragleave", () => frame.classList.remove("over"));
    frame.addEventListener("drop", (event) => {
      event.preventDefault();
      frame.classList.remove("over");
      this.show(event.dataTransfer.files[0]);
    });
  }

  show(file) {
    if (!file) return;
    this.reset();
    this.file = file;
    this.url = URL.createObjectURL(file);
    this.image.src = this.url;
    this.image.alt = `${this.dataset.name}: ${file.name}`;
    this.image.onload = () => (this.image.hidden = false);
    this.image.onerror = () => (this.invitation.hidden = false); // a format that this browser can't show
    this.invite(file.name, "No preview in this browser");
    this.invitation.hidden = true;
    this.dispatchEvent(new CustomEvent("photo"));
  }

  reset() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.file = this.url = null;
    this.image.hidden = true;
    this.image.removeAttribute("src");
    this.invite(HINT, this.dataset.hint);
    this.invitation.hidden = false;
    this.clear();
  }

  invite(title, text) {
    const icon = makeSvg("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" });
    icon.append(makeSvg("use", { href: "page/icon.svg#mark" }));
    this.invitation.replaceChildren(icon, make("strong", {}, title), make("span", {}, text));
  }

  /** Takes the drawn faces and notes away. */
  clear() {
    this.overlay.replaceChildren();
    this.note("");
  }

  note(text, kind = "") {
    this.notes.textContent = text;
    this.notes.className = `notes ${kind}`;
  }

  noteQuality(face, found) {
    const others = found > 1 ? `${found} faces found, the most prominent is used. ` : "";
    const reasons = face.quality.reasons.map(reason).join(", ");
    this.note(others + (reasons ? `Not good enough: ${reasons}.` : "Good enough to judge."), reasons ? "warn" : "good");
  }

  /** faces: [{box, landmarks}]; labels: a text and a kind (class) for each. */
  async draw(faces, labels = []) {
    await this.image.decode().catch(() => {});
    const { naturalWidth: width, naturalHeight: height } = this.image;
    if (!width) return;
    this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const unit = Math.max(width / this.overlay.clientWidth, height / this.overlay.clientHeight);
    this.overlay.replaceChildren(...faces.flatMap((face, i) => drawn(face, labels[i], unit, width)));
  }
}

/** unit: pixels of the photograph per pixel of the screen, for marks and letters of constant size. */
function drawn({ box: [x1, y1, x2, y2], landmarks }, label = {}, unit, right) {
  const kind = label.kind ?? "";
  const box = makeSvg("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, rx: 6 * unit, class: `box ${kind}` });
  const r = Math.max(Math.min(2.5 * unit, 0.03 * (x2 - x1)), 1.4 * unit);
  const points = landmarks.map(([cx, cy]) => makeSvg("circle", { cx, cy, r, class: `point ${kind}` }));
  return [box, ...points, ...(label.text ? tag(label.text, kind, x1, y1, unit, right) : [])];
}

/** right: the photograph's own right edge, which no tag may cross. */
function tag(text, kind, boxLeft, y, unit, right) {
  const size = 13 * unit;
  const top = Math.max(y - 1.75 * size, 0);
  const width = (0.64 * text.length + 1) * size;
  const x = Math.max(Math.min(boxLeft, right - width), 0);
  return [
    makeSvg("rect", { x, y: top, width, height: 1.55 * size, rx: 0.35 * size, class: `tag ${kind}` }),
    makeSvg("text", { x: x + width / 2, y: top + 1.12 * size, "font-size": size, "text-anchor": "middle" }, text),
  ];
}

customElements.define("face-photo", FacePhoto);
