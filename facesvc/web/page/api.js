/* The service's HTTP API. Addresses are relative, so that the page works below any path. */

import { headers } from "./key.js";

/** An RFC 9457 problem that the service answered. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title);
    Object.assign(this, { code: document.code, title: document.title, source: document.source, document });
  }
}

const UNREACHABLE = { code: "unreachable", title: "No answer", detail: "The service can't be reached." };
const BUSY_ATTEMPTS = 3;

async function ask(path, options = {}, attempt = 1) {
  const asked = { ...options, headers: { ...options.headers, ...headers() } };
  const response = await fetch(path, asked).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Problem(UNREACHABLE);
  });
  if (response.status === 503 && attempt < BUSY_ATTEMPTS) {
    await new Promise((resume) => setTimeout(resume, 1000 * Number(response.headers.get("Retry-After") ?? 1)));
    return ask(path, options, attempt + 1);
  }
  const answer = await response.json().catch(() => ({ title: response.statusText || "Unreadable answer" }));
  if (!response.ok) throw new Problem(answer);
  return answer;
}

function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (Array.isArray(value)) value.forEach((one) => data.append(name, one));
    else if (value !== "" && value != null) data.append(name, value);
  }
  return data;
}

const post = (path, body, signal) => ask(path, { method: "POST", body, signal });
const name = encodeURIComponent;

export const caller = () => ask("v1/caller");
export const model = () => ask("v1/model");
export const verify = (fields, signal) => post("v1/verify", form(fields), signal);
export const identify = (fields, signal) => post("v1/identify", form(fields), signal);

export const enrol = (gallery, subject, fields) =>
  post(`v1/galleries/${name(gallery)}/subjects/${name(subject)}/references`, form(fields));

export const createGallery = (gallery) =>
  ask("v1/galleries", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(gallery),
  });

export async function galleries() {
  const found = [];
  for (let cursor = ""; cursor !== null; ) {
    const page = await ask(`v1/galleries?limit=500${cursor && `&cursor=${name(cursor)}`}`);
    found.push(...page.items);
    cursor = page.next_cursor;
  }
  return found;
}

/** What to do about an error code, in plain words; nothing where the service has no words for it. */
export const advice = (code) => ask(`errors/${name(code)}`).then((found) => found.advice, () => "");
