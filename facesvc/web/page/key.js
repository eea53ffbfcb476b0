/* The API key of this tab. */

const PLACE = "facesvc-key";

export const remember = (key) => sessionStorage.setItem(PLACE, key);

/** Whether there was one. */
export function forget() {
  const known = sessionStorage.getItem(PLACE) !== null;
  sessionStorage.removeItem(PLACE);
  return known;
}

/** What a request brings. */
export function headers() {
  const key = sessionStorage.getItem(PLACE);
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}
