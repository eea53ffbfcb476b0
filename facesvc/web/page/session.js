/* Who uses the page: the API key lives in this tab alone, until it is closed or its user logs out. It is never part of
   an address. */

import { caller } from "./api.js";
import { $ } from "./dom.js";
import { forget, remember } from "./key.js";

const TASKS = { compare: ["verify"], identify: ["identify"], enrol: ["enrol"] };

/** The tasks that a caller may do, in the page's order. */
export const tasksOf = ({ roles }) =>
  Object.keys(TASKS).filter((task) => roles.includes("administer") || TASKS[task].some((role) => roles.includes(role)));

export const mayListGalleries = ({ roles }) => ["administer", "identify", "enrol"].some((role) => roles.includes(role));

/** Who asks; asks for a key, and for another one, until one is taken. */
export async function enter() {
  for (;;) {
    try {
      const who = await caller();
      show(who);
      return who;
    } catch (problem) {
      if (problem.code !== "unauthenticated") throw problem;
      const tried = forget();
      await signIn(tried ? problem : null);
    }
  }
}

function show(who) {
  $("sign-in").hidden = true;
  $("development").hidden = !who.development;
  $("open-links").hidden = !who.development;
  $("who").hidden = who.development;
  const galleries = who.galleries ? `, galleries: ${who.galleries.join(", ")}` : "";
  $("caller").textContent = `Key ${who.key} (${who.roles.join(", ")}${galleries})`;
  $("new-gallery").hidden = !who.roles.includes("administer");
  $("sign-out").addEventListener("click", signOut);
}

function signOut() {
  forget();
  location.reload(); // photographs and answers go with it
}

/** Resolves once a key was given. */
function signIn(problem) {
  $("sign-in").hidden = false;
  $("sign-in-problem").textContent = problem ? problem.message : "";
  $("key").focus();
  return new Promise((resolve) => {
    const take = (event) => {
      event.preventDefault();
      const key = $("key").value.trim();
      if (!key) return;
      $("key").value = "";
      $("sign-in-form").removeEventListener("submit", take);
      remember(key);
      resolve();
    };
    $("sign-in-form").addEventListener("submit", take);
  });
}
