/* The page: three tasks, one shown at a time by the address's fragment. */

import "./photo.js";
import { model } from "./api.js";
import { setUpCompare } from "./compare.js";
import { $ } from "./dom.js";
import { setUpEnrol } from "./enrol.js";
import { refreshGalleries } from "./galleries.js";
import { setUpIdentify } from "./identify.js";
import { enter, mayListGalleries, tasksOf } from "./session.js";
import { rate } from "./words.js";

const TASKS = ["compare", "identify", "enrol"];
let allowed = [];

function showTask() {
  const chosen = allowed.find((task) => `#${task}` === location.hash) ?? allowed[0];
  for (const task of TASKS) {
    $(task).hidden = task !== chosen;
    const link = document.querySelector(`nav a[href="#${task}"]`);
    link.hidden = !allowed.includes(task);
    if (task === chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  scrollTo(0, 0);
}

async function start() {
  try {
    const who = await enter();
    const inUse = await model();
    setUpCompare(inUse);
    setUpIdentify();
    setUpEnrol();
    if (mayListGalleries(who)) await refreshGalleries();
    allowed = tasksOf(who);
    showTask();
    $("status").textContent = `Threshold ${inUse.threshold.toFixed(2)}, false matches ${rate(inUse.fmr_at_threshold)}`;
    $("contract").textContent += ` Model ${inUse.template_version.slice(0, 15)}…`;
    document.body.dataset.ready = "true";
  } catch (problem) {
    $("status").textContent = problem.message;
    $("status").classList.add("bad");
  }
}

/** A photograph dropped beside its place must not replace the page. */
for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault());
addEventListener("hashchange", showTask);
start();
